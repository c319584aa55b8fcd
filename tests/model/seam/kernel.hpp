// SPDX-License-Identifier: Apache-2.0
//
// The kernel objects that the seam replaces: eventfds, epolls and socket pairs, and the descriptor tables. Each change
// of a file wakes the threads that wait for it in an epoll.
//
// A scenario's threads share the program's table. A thread that enters a private table (aio/system/private_table.hpp)
// has another table, which the threads that it starts share. In scenarios that need files, eventfds represent the
// files: each has an inode.
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
  bool is_ready = false;  // there was an edge that epoll_wait has not checked yet
};

struct kernel_epoll {
  std::vector<std::shared_ptr<watched_file>> watched;
  bool is_late = false;  // the timeout of a waiting thread expires
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
  bool is_regular = false;  // another kind of file: the count is the amount written to it
  std::vector<watcher> watchers;

  static constexpr std::uint64_t most = UINT64_MAX - 1;
  /// The events that poll(2) and epoll report.
  [[nodiscard]] unsigned events() const noexcept { return (count > 0 ? EPOLLIN : 0U) | (count < most ? EPOLLOUT : 0U); }
};

struct kernel_socket;

/// Refers to a file, an epoll, or a socket.
struct descriptor {
  std::shared_ptr<kernel_eventfd> file;
  std::shared_ptr<kernel_epoll> epoll = nullptr;
  bool is_fdinfo = false;
  std::shared_ptr<kernel_socket> socket = nullptr;
};

/// One end receives the messages that the other end sends: words, each with a file.
struct kernel_socket {
  struct message {
    std::uint64_t word;
    descriptor sent;
  };

  std::size_t room;
  std::deque<message> messages;
};

/// Whether the number belongs to the seam, not to the real kernel.
[[nodiscard]] bool is_ours(int number) noexcept;
/// A step. @return null if there is none.
[[nodiscard]] descriptor* find_descriptor(int number);
/// A step. @return the lowest free number, as in the kernel.
int add_descriptor(const descriptor& made);

/// A step. The calling thread gets a private table, with the descriptors `kept` of its old one.
void enter_new_table(std::span<const int> kept);

/// Not steps. Return and set the table of the calling thread.
[[nodiscard]] unsigned this_table() noexcept;
void use_table(unsigned which) noexcept;

/// Not a step. @return the inode of the file that the number refers to in the calling thread's table; 0: none.
[[nodiscard]] std::uint64_t inode_of(int number) noexcept;

/// For the rest of the execution, the program may close the library's descriptors, so the library checks whether they
/// are still its own.
void let_program_close_ours() noexcept;
/// A step if let_program_close_ours() was called. @return whether the number refers to the file with that inode; true
/// without that call.
[[nodiscard]] bool is_still(int number, std::uint64_t inode) noexcept;

/// Not a step. From now on the file of that number is not an eventfd.
void make_regular(int number);
/// For the rest of the execution, the system permits the kernel's AIO, which signals eventfds
/// (aio/system/eventfd_signal.hpp).
void allow_kernel_aio() noexcept;
[[nodiscard]] bool allows_kernel_aio() noexcept;
/// A step. Signals the eventfd of that number, as the kernel does for a request. @return false: EBADF, or EINVAL.
[[nodiscard]] bool signal_eventfd(int number, std::uint64_t n);

[[nodiscard]] std::shared_ptr<kernel_socket> make_socket();
/// For the rest of the execution, new sockets have room for `most` messages.
void limit_messages(std::size_t most) noexcept;

/// Not a step. The number of descriptors in all tables, and messages in sockets, that refer to the file of that number.
[[nodiscard]] long references_to(int number) noexcept;

/// A step for each epoll: threads that wait there with a timeout return.
void let_time_pass();

/// Reports `events` of the file to each epoll that watches for them. A step for each epoll.
void tell_epolls(scheduler& all, const kernel_eventfd& file, unsigned events);

inline int failed(int error) noexcept {
  errno = error;
  return -1;
}

}  // namespace doorbell::model
