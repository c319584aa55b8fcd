// SPDX-License-Identifier: Apache-2.0
//
// Functions of tests for file descriptors.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::test {

using base::unique_fd;

[[nodiscard]] inline unique_fd kernel_eventfd(unsigned initial = 0, int flags = EFD_NONBLOCK) {
  return unique_fd{::eventfd(initial, flags | EFD_CLOEXEC)};
}

/// The events that poll(2) reports for `fd` now.
[[nodiscard]] inline unsigned polled(int fd) {
  pollfd asked{.fd = fd, .events = POLLIN | POLLOUT, .revents = 0};
  ::poll(&asked, 1, 0);
  return static_cast<unsigned>(asked.revents);
}

[[nodiscard]] inline bool readable(int fd) { return (polled(fd) & POLLIN) != 0; }

[[nodiscard]] inline bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

/// Takes the count of a kernel eventfd; 0 if the read would block.
inline std::uint64_t take(int fd) {
  std::uint64_t count = 0;
  return readable(fd) && ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

/// Reads a kernel eventfd until the sum of the counts is `expected` or some seconds have passed. @return the sum. When
/// a request's event is in the ring, another thread may still be about to signal, also for the kernel's contexts.
inline std::uint64_t take_until(int fd, std::uint64_t expected) {
  std::uint64_t sum = 0;
  pollfd asked{.fd = fd, .events = POLLIN, .revents = 0};
  while (sum != expected && ::poll(&asked, 1, 20'000) == 1) sum += take(fd);
  return sum;
}

/// Adds to a kernel eventfd.
/// @return whether that succeeded.
inline bool give(int fd, std::uint64_t n) { return ::write(fd, &n, sizeof n) == sizeof n; }

/// While it exists, this process can open no new descriptor, or only `spare`. Check results after its destruction:
/// UndefinedBehaviorSanitizer needs descriptors to check a virtual call.
class no_more_fds {
 public:
  explicit no_more_fds(rlim_t spare = 0) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    // All numbers below the lowest free one are in use.
    const unique_fd lowest_free{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    const rlimit limit{.rlim_cur = static_cast<rlim_t>(lowest_free.get()) + spare, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~no_more_fds() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  no_more_fds(const no_more_fds&) = delete;
  no_more_fds& operator=(const no_more_fds&) = delete;

 private:
  rlimit before_{};
};

}  // namespace doorbell::test
