// SPDX-License-Identifier: Apache-2.0
//
// What the kernel has in the place of which the seam stands: eventfds and epolls, and the descriptors by which they are
// known. Whoever waits at an epoll is told by whatever changes a file.
#pragma once

#include <sys/epoll.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include "checker/scheduler.hpp"

namespace doorbell::model {

struct kernel_eventfd;

/// What an epoll watches.
struct watched_file {
  int number;
  std::weak_ptr<kernel_eventfd> file;
  epoll_event asked;
  bool is_ready = false;  // there has been an edge that epoll_wait has not looked at
};

struct kernel_epoll {
  std::vector<std::shared_ptr<watched_file>> watched;
};

struct kernel_eventfd {
  struct watcher {
    std::weak_ptr<kernel_epoll> epoll;
    std::shared_ptr<watched_file> as;
  };

  std::uint64_t count;
  const bool semaphore;
  const bool non_blocking;
  std::vector<watcher> watchers;

  static constexpr std::uint64_t most = UINT64_MAX - 1;
  /// What poll(2) and epoll say of it.
  [[nodiscard]] unsigned events() const noexcept { return (count > 0 ? EPOLLIN : 0U) | (count < most ? EPOLLOUT : 0U); }
};

/// One of the two.
struct descriptor {
  std::shared_ptr<kernel_eventfd> file;
  std::shared_ptr<kernel_epoll> epoll;
  bool is_fdinfo = false;
};

/// Whether the number is of here, and not the kernel's own.
[[nodiscard]] bool is_ours(int number) noexcept;
/// A step. @return null when there is none.
[[nodiscard]] descriptor* find_descriptor(int number);
/// A step. @return the lowest number that is free, as the kernel does it.
int add_descriptor(const descriptor& made);

/// Tells the epolls that wait for them: a step for each.
void tell_epolls(scheduler& all, const kernel_eventfd& file, unsigned events);

inline int failed(int error) noexcept {
  errno = error;
  return -1;
}

}  // namespace doorbell::model
