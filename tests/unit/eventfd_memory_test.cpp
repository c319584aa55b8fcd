// SPDX-License-Identifier: Apache-2.0
//
// Calls that cannot allocate memory report an error and lose nothing.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "failing_new.hpp"
#include "support/fds.hpp"

namespace {

using doorbell::eventfd;
using doorbell::test::failing_new::has_failed;
using doorbell::test::failing_new::is_lasting;
using doorbell::test::failing_new::left;

using doorbell::test::kernel_eventfd;
using doorbell::test::take;
using namespace std::chrono_literals;

std::ptrdiff_t descriptors() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, std::filesystem::directory_iterator{});
}

/// Calls call(ec) repeatedly: the first allocation fails, then the second, and so on, until none fails. Each case runs
/// twice: the later allocations succeed, or they fail, too. The test fails if there are more than `most` cases. Oracle:
/// each failed call reports not_enough_memory, and leaves no descriptor behind.
/// @return the number of allocations.
template <class Call>
int fail_each_allocation(Call call) {
  constexpr int most = 50;
  for (int count = 0; count < most; ++count)
    for (const bool fails_later_ones : {false, true}) {
      const auto before = descriptors();
      std::error_code ec;
      left = count;
      is_lasting = fails_later_ones;
      has_failed = false;
      call(ec);
      left = -1;
      if (!has_failed) {
        EXPECT_NE(ec, std::errc::not_enough_memory);
        return count;
      }
      EXPECT_EQ(ec, std::errc::not_enough_memory);
      EXPECT_EQ(descriptors(), before);
    }
  ADD_FAILURE() << "the call still fails after " << most - 1 << " successful allocations";
  return most;
}

TEST(no_memory, for_an_eventfd_leaves_the_handle_closed) {
  EXPECT_EQ(fail_each_allocation([](auto& ec) {
              const eventfd efd{3, 0, ec};
              EXPECT_EQ(efd.is_open(), !ec);
            }),
            1);
}

TEST(no_memory, for_a_poll_fd_makes_no_descriptor) {
  const eventfd efd{3};
  EXPECT_EQ(fail_each_allocation([&](auto& ec) {
              const int fd = efd.poll_fd(ec);
              EXPECT_EQ(fd < 0, static_cast<bool>(ec));
            }),
            2);
  EXPECT_EQ(efd.info().count, 3U);
  EXPECT_TRUE(doorbell::test::readable(efd.poll_fd()));
}

TEST(no_memory, to_forward_leaves_the_count_in_the_eventfd) {
  const auto there = kernel_eventfd();
  {
    const eventfd warm_up;
    warm_up.forward_to(there.get());
  }
  const eventfd efd{3};
  EXPECT_EQ(fail_each_allocation([&](auto& ec) {
              efd.forward_to(there.get(), ec);
              EXPECT_EQ(efd.info().count, ec ? 3U : 0U);
            }),
            2);
  EXPECT_EQ(take(there.get()), 3U);
  EXPECT_EQ(fail_each_allocation([&](auto& ec) {
              const auto made = eventfd::forwarding_to(there.get(), ec);
              EXPECT_EQ(made.is_open(), !ec);
            }),
            3);
}

TEST(no_memory, to_sleep_takes_and_adds_nothing) {
  const eventfd empty;
  const eventfd full;
  full.write(eventfd::max);
  EXPECT_EQ(fail_each_allocation([&](auto& ec) { EXPECT_EQ(empty.read_for(1ms, ec), 0U); }), 1);
  EXPECT_EQ(fail_each_allocation([&](auto& ec) { full.write_for(1, 1ms, ec); }), 1);
  empty.signal(2);
  EXPECT_EQ(empty.read(), 2U);
  EXPECT_EQ(full.read(), eventfd::max);
  EXPECT_EQ(full.info().count, 0U);
}

}  // namespace
