// SPDX-License-Identifier: Apache-2.0
//
// pinned: pins a thread to one CPU for a scope. If two threads wake each other alternately, the scheduler may run them
// on one CPU in one run and on two in the next. The difference is a factor of four and would dominate every comparison.
#pragma once

#include <sched.h>

#include <cstddef>

namespace doorbell::bench {

class pinned {
 public:
  /// @param place the index of the CPU, among the CPUs that the thread may use, modulo their number.
  explicit pinned(std::size_t place) noexcept {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(nth_allowed(place % static_cast<std::size_t>(CPU_COUNT(&before_))), &one);
    ::sched_setaffinity(0, sizeof one, &one);
  }
  ~pinned() { ::sched_setaffinity(0, sizeof before_, &before_); }
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;

 private:
  [[nodiscard]] std::size_t nth_allowed(std::size_t n) const noexcept {
    std::size_t cpu = 0;
    while (!CPU_ISSET(cpu, &before_) || n-- > 0) ++cpu;
    return cpu;
  }

  cpu_set_t before_{};
};

}  // namespace doorbell::bench
