// SPDX-License-Identifier: Apache-2.0
//
// The number of system calls that doorbell itself makes in this process, without those of the program and of other
// libraries. They are counted where the library is linked (--wrap), so that no layer depends on the counters.
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
