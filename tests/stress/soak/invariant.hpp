// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdio>

namespace doorbell::soak {

/// How often something did not hold that should have.
inline std::atomic<std::size_t>& violations() {
  static std::atomic<std::size_t> count{0};
  return count;
}

/// Says so when `holds` is false, and remembers it; the soak ends by it.
/// @param sentence the invariant. @param seen a number that helps to see why it did not.
inline void require(bool holds, const char* sentence, long long seen = 0) {
  constexpr std::size_t enough = 20;
  if (!holds && violations().fetch_add(1) < enough) std::fprintf(stderr, "violated: %s (%lld)\n", sentence, seen);
}

}  // namespace doorbell::soak
