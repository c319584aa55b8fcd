// SPDX-License-Identifier: Apache-2.0
//
// A child process. The parent decides for each of some system calls whether it fails or passes (seccomp_unotify(2)).
// Unlike a replacement of libc's functions, this also intercepts calls that a library makes directly, as liburing does.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <doorbell/base/unique_fd.hpp>

#include "support/child.hpp"

namespace doorbell::test {

/// A system call that waits for the parent's decision.
struct supervised_call {
  pid_t thread;
  long number;
  std::span<const __u64, 6> arguments;
};

class supervised_child {
 public:
  /// The parent's decision: 0 lets the call pass, any other value is the errno with which the call fails.
  static constexpr int pass = 0;

  /// Forks. The child intercepts `calls` of all its threads, runs `body`, and exits.
  template <class Body>
  supervised_child(std::span<const long> calls, Body body) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
    const base::unique_fd parents{ends[0]};
    base::unique_fd childs{ends[1]};
    child_ = fork_when_quiet();
    if (child_ == 0) run_child(calls, childs.release(), body);
    childs.reset();
    listener_ = receive(parents.get());
    exited_.reset(static_cast<int>(::syscall(SYS_pidfd_open, child_, 0)));
    if (!exited_) fail("pidfd_open");
  }
  ~supervised_child() {
    if (child_ > 0) ::kill(child_, SIGKILL);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }
  supervised_child(const supervised_child&) = delete;
  supervised_child& operator=(const supervised_child&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return child_; }

  /// Decides the child's calls until the child exits, or fails after `patience`. Expects that the child exits with
  /// status 0.
  template <class Decide>
  void supervise(std::chrono::milliseconds patience, Decide decide) {
    const auto give_up = std::chrono::steady_clock::now() + patience;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(give_up - std::chrono::steady_clock::now());
      pollfd about[] = {{.fd = listener_.get(), .events = POLLIN, .revents = 0},
                        {.fd = exited_.get(), .events = POLLIN, .revents = 0}};
      ::poll(about, 2, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
      if (about[0].revents & POLLIN)
        answer_one(decide);
      else if (about[1].revents != 0)
        break;
      else if (left.count() <= 0) {
        ADD_FAILURE() << "the child hung";
        return;
      }
    }
    expect_success(std::exchange(child_, 0));
  }

 private:
  // A high number that no library gets. The filter passes calls whose first argument is this number.
  static constexpr int passing_number = 997;

  [[noreturn]] static void fail(const char* call) { throw std::system_error{errno, std::system_category(), call}; }

  // Without PR_SET_PDEATHSIG, the child of a killed parent would wait for decisions forever.
  template <class Body>
  // NOLINTNEXTLINE(bugprone-exception-escape): then the child ends, and the parent reports a failure
  [[noreturn]] static void run_child(std::span<const long> calls, int socket, Body& body) noexcept {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int inherited = failures();
    hand_out_listener(calls, socket);
    body();
    ::_exit(failures() > inherited ? EXIT_FAILURE : EXIT_SUCCESS);
  }

  static int failures() { return testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count(); }

  static void hand_out_listener(std::span<const long> calls, int socket) {
    if (::dup3(socket, passing_number, O_CLOEXEC) < 0) fail("dup3");
    ::close(socket);
    const base::unique_fd listener{install(calls)};
    char byte = 0;
    iovec data{.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    auto* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = listener.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof number);
    if (::sendmsg(passing_number, &message, 0) != 1) fail("sendmsg");
    ::close(passing_number);
  }

  static int install(std::span<const long> calls) {
    std::vector<sock_filter> program{sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
                                     sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, passing_number, 0, 1),
                                     sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                                     sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    for (const long call : calls) {
      program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1));
      program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog filter{.len = static_cast<unsigned short>(program.size()), .filter = program.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("prctl");
    const auto listener = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    if (listener < 0) fail("seccomp");
    return static_cast<int>(listener);
  }

  static base::unique_fd receive(int socket) {
    char byte = 0;
    iovec data{.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || CMSG_FIRSTHDR(&message) == nullptr) fail("recvmsg");
    int number = -1;
    std::memcpy(&number, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof number);
    return base::unique_fd{number};
  }

  // RECV fails if the thread has ended meanwhile: it needs no decision.
  template <class Decide>
  void answer_one(Decide& decide) {
    seccomp_notif asked{};
    if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) return;
    const int error = decide(supervised_call{.thread = static_cast<pid_t>(asked.pid),
                                             .number = asked.data.nr,
                                             .arguments = std::span<const __u64, 6>{asked.data.args}});
    seccomp_notif_resp answer{};
    answer.id = asked.id;
    answer.error = -error;
    answer.flags = error == pass ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
    ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }

  pid_t child_ = -1;
  base::unique_fd listener_;
  base::unique_fd exited_;
};

}  // namespace doorbell::test
