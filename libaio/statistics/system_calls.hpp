// SPDX-License-Identifier: Apache-2.0
//
// How many system calls doorbell itself makes in this process. They are counted where the library is linked (--wrap),
// so that no room has to know of it; those of the program and of other libraries are not among them.
#pragma once

#include <atomic>
#include <cstdint>

namespace doorbell::libaio {

struct system_calls {
  static inline constinit std::atomic<std::uint64_t> made{0};
  /// Set before the first context is made.
  static inline constinit bool are_counted = false;

  static void add(std::uint64_t count = 1) noexcept {
    if (are_counted) [[unlikely]]
      made.fetch_add(count, std::memory_order_relaxed);
  }
};

}  // namespace doorbell::libaio
