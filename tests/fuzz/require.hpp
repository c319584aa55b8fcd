// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>

namespace doorbell::fuzz {

/// Ends the program where `holds` is false, so that the fuzzer keeps the input that led there.
/// @param sentence the oracle. @param seen a number that helps to see why it did not.
inline void require(bool holds, const char* sentence, long long seen = 0) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "violated: %s (%lld)\n", sentence, seen);
  std::abort();
}

}  // namespace doorbell::fuzz
