// SPDX-License-Identifier: Apache-2.0
//
// For tests of requests for files: the events of a context, and the size of a file.
#pragma once

#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <vector>

namespace doorbell::test {

inline off_t size_of(int fd) {
  struct stat status{};
  EXPECT_EQ(::fstat(fd, &status), 0);
  return status.st_size;
}

/// Waits for `count` events.
inline std::vector<aio::io_event> events_of(aio::context& ctx, std::size_t count) {
  std::vector<aio::io_event> all;
  std::array<aio::io_event, 64> some{};
  while (all.size() < count) {
    const auto got = ctx.get_events(1, some, std::chrono::seconds{20});
    if (got.empty()) break;
    all.insert(all.end(), got.begin(), got.end());
  }
  EXPECT_EQ(all.size(), count);
  return all;
}

}  // namespace doorbell::test
