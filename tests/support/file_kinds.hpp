// SPDX-License-Identifier: Apache-2.0
//
// A file of each kind that a descriptor can refer to, as far as this process can open them.
#pragma once

#include <fcntl.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "support/fds.hpp"
#include "support/files.hpp"

namespace doorbell::test {

struct file_kind {
  std::string name;
  unique_fd fd;
};

/// Files of all kinds except eventfds.
class other_files {
 public:
  other_files() {
    add("file", temporary_file("text"));
    const auto& file = all_.back().fd;
    const auto path = "/proc/self/fd/" + std::to_string(file.get());
    add("file, read only", unique_fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)});
    add("folder", unique_fd{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)});
    add("read end of a pipe", std::move(pipe_.read));
    add("write end of a pipe", std::move(pipe_.write));
    add_sockets("stream", SOCK_STREAM);
    add_sockets("datagrams", SOCK_DGRAM);
    add("udp", unique_fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)});
    add("null", unique_fd{::open("/dev/null", O_RDWR | O_CLOEXEC)});
    add("terminal", unique_fd{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)});
    add_memory();
    add_anonymous();
  }

  [[nodiscard]] const std::vector<file_kind>& all() const noexcept { return all_; }

 private:
  void add(std::string name, unique_fd fd) {
    if (fd) all_.push_back({std::move(name), std::move(fd)});
  }
  static unique_fd made(long answer) { return unique_fd{static_cast<int>(answer)}; }

  void add_sockets(const std::string& name, int type) {
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return;
    add(name, unique_fd{ends[0]});
    add(name + ", other end", unique_fd{ends[1]});
  }

  void add_memory() {
    add("memfd", unique_fd{::memfd_create("doorbell-test", MFD_CLOEXEC)});
    const auto name = "/doorbell-test-" + std::to_string(::getpid());
    add("message queue", unique_fd{::mq_open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600, nullptr)});
    ::mq_unlink(name.c_str());
  }

  // Files that have the same anonymous inode as eventfds, or had it in older kernels.
  void add_anonymous() {
    add("epoll", unique_fd{::epoll_create1(EPOLL_CLOEXEC)});
    add("timerfd", unique_fd{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)});
    sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, SIGUSR1);
    add("signalfd", unique_fd{::signalfd(-1, &one, SFD_CLOEXEC)});
    add("inotify", unique_fd{::inotify_init1(IN_CLOEXEC)});
    add("fanotify", unique_fd{::fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY)});
    add("fanotify, with permissions", unique_fd{::fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDWR)});
    add("fanotify, of any user", unique_fd{::fanotify_init(FAN_REPORT_FID | FAN_CLOEXEC, O_RDONLY)});
    add("pidfd", made(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    io_uring_params none{};
    add("io_uring", made(::syscall(SYS_io_uring_setup, 1, &none)));
    constexpr int user_mode_only = 1;
    add("userfaultfd", made(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | user_mode_only)));
  }

  pipe_ends pipe_;
  std::vector<file_kind> all_;
};

/// Kernel eventfds in each state.
[[nodiscard]] inline std::vector<file_kind> eventfds() {
  std::vector<file_kind> all;
  for (const int non_blocking : {0, static_cast<int>(EFD_NONBLOCK)})
    for (const int semaphore : {0, static_cast<int>(EFD_SEMAPHORE)})
      for (const std::uint64_t count : {std::uint64_t{0}, std::uint64_t{7}, UINT64_MAX - 1}) {
        auto fd = kernel_eventfd(0, non_blocking | semaphore);
        if (count > 0) give(fd.get(), count);
        const std::string text = std::string{non_blocking != 0 ? "non-blocking" : "blocking"} +
                                 (semaphore != 0 ? " semaphore of " : " eventfd of ") + std::to_string(count);
        all.push_back({text, std::move(fd)});
      }
  return all;
}

}  // namespace doorbell::test
