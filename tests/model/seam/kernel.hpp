// SPDX-License-Identifier: Apache-2.0
//
// The objects of the kernel that the seam replaces: eventfds, epolls and socket pairs, and the tables of their
// descriptors. Each change of a file wakes the threads that wait in an epoll for it.
//
// A scenario's threads share the program's table; a thread that enters a private table (aio/private_table.hpp) has
// another one, which those that it starts share. Where a scenario is about files, eventfds are the files: each has an
// inode.
#pragma once

#include <sys/epoll.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "checker/scheduler.hpp"

namespace doorbell::model {

struct kernel_eventfd;

/// A file that an epoll watches.
struct watched_file {
  int number;
  std::weak_ptr<kernel_eventfd> file;
  epoll_event asked;
  bool is_ready = false;  // there has been an edge that epoll_wait has not looked at
};

struct kernel_epoll {
  std::vector<std::shared_ptr<watched_file>> watched = {};
  bool is_late = false;  // the time of a thread that waits is up
};

struct kernel_eventfd {
  struct watcher {
    std::weak_ptr<kernel_epoll> epoll;
    std::shared_ptr<watched_file> as;
  };

  std::uint64_t count;
  const bool semaphore;
  const bool non_blocking;
  const std::uint64_t inode;
  bool is_regular = false;  // another kind of file: the count says how much has been written to it
  std::vector<watcher> watchers = {};

  static constexpr std::uint64_t most = UINT64_MAX - 1;
  /// The events that poll(2) and epoll report.
  [[nodiscard]] unsigned events() const noexcept { return (count > 0 ? EPOLLIN : 0U) | (count < most ? EPOLLOUT : 0U); }
};

struct kernel_socket;

/// One of the three.
struct descriptor {
  std::shared_ptr<kernel_eventfd> file;
  std::shared_ptr<kernel_epoll> epoll = nullptr;
  bool is_fdinfo = false;
  std::shared_ptr<kernel_socket> socket = nullptr;
};

/// One end receives what the other sends: words, each with a file.
struct kernel_socket {
  struct message {
    std::uint64_t word;
    descriptor sent;
  };

  std::size_t room;
  std::deque<message> messages = {};
};

/// Whether the number is of here, and not the kernel's own.
[[nodiscard]] bool is_ours(int number) noexcept;
/// A step. @return null when there is none.
[[nodiscard]] descriptor* find_descriptor(int number);
/// A step. @return the lowest number that is free, as the kernel does it.
int add_descriptor(const descriptor& made);

/// A step. The calling thread gets a table of its own, with those descriptors of its old one.
void enter_new_table(std::span<const int> kept);

/// Not steps. The table of the calling thread, and another one for it.
[[nodiscard]] unsigned this_table() noexcept;
void use_table(unsigned which) noexcept;

/// Not a step. @return the inode of the file that the number refers to in the calling thread's table; 0: none.
[[nodiscard]] std::uint64_t inode_of(int number) noexcept;

/// For the rest of the execution: the program may close the library's descriptors, which therefore looks whether they
/// are still its own.
void let_program_close_ours() noexcept;
/// A step, if it may. @return whether the number refers to the file with that inode.
[[nodiscard]] bool is_still(int number, std::uint64_t inode) noexcept;

/// Not a step. The file of that number is not an eventfd.
void make_regular(int number);
/// For the rest of the execution: the system allows the kernel's AIO, which signals eventfds (aio/eventfd_signal.hpp).
void allow_kernel_aio() noexcept;
[[nodiscard]] bool allows_kernel_aio() noexcept;
/// A step: as the kernel signals the eventfd of that number for a request. @return false: EBADF, or EINVAL.
[[nodiscard]] bool signal_eventfd(int number, std::uint64_t n);

[[nodiscard]] std::shared_ptr<kernel_socket> make_socket();
/// For the rest of the execution: a socket pair has room for so many messages.
void limit_messages(std::size_t most) noexcept;

/// Not a step. How many descriptors of all tables, and messages on the way, refer to the file of that number.
[[nodiscard]] long references_to(int number) noexcept;

/// A step for each epoll: time passes, and threads that wait there for some time return.
void let_time_pass();

/// Tells the epolls that wait for them: a step for each.
void tell_epolls(scheduler& all, const kernel_eventfd& file, unsigned events);

inline int failed(int error) noexcept {
  errno = error;
  return -1;
}

}  // namespace doorbell::model
