// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>

namespace doorbell::fuzz {

/// Aborts if `holds` is false, so that the fuzzer keeps the input.
/// @param sentence the oracle. @param seen a number that helps to explain the violation.
inline void require(bool holds, const char* sentence, long long seen = 0) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "violated: %s (%lld)\n", sentence, seen);
  std::abort();
}

}  // namespace doorbell::fuzz
