// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdio>

namespace doorbell::soak {

/// The number of violated invariants so far.
inline std::atomic<std::size_t>& violations() {
  static std::atomic<std::size_t> count{0};
  return count;
}

/// If `holds` is false, reports and counts a violation, which ends the soak.
/// @param sentence the invariant. @param seen a number that helps to explain the violation.
inline void require(bool holds, const char* sentence, long long seen = 0) {
  constexpr std::size_t enough = 20;
  if (!holds && violations().fetch_add(1) < enough) std::fprintf(stderr, "violated: %s (%lld)\n", sentence, seen);
}

}  // namespace doorbell::soak
