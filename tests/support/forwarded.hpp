// SPDX-License-Identifier: Apache-2.0
//
// Counts that arrive at a kernel eventfd.
#pragma once

#include <cstdint>

#include "support/eventually.hpp"
#include "support/fds.hpp"

namespace doorbell::test {

/// Whether the sum of the counts read becomes `expected`.
inline bool gets(const unique_fd& fd, std::uint64_t expected) {
  std::uint64_t sum = 0;
  return eventually([&] {
    sum += take(fd.get());
    return sum == expected;
  });
}

}  // namespace doorbell::test
