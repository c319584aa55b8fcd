// SPDX-License-Identifier: Apache-2.0
//
// Timeouts converted to points in time, and back.
#include <doorbell/base/point_after.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <limits>

#include <doorbell/base/futex.hpp>

namespace {

using doorbell::base::point_after;
using doorbell::base::time_left;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

template <class Timeout>
void expect_now(Timeout timeout) {
  const auto before = steady_clock::now();
  const auto point = point_after(timeout);
  EXPECT_GE(point, before);
  EXPECT_LE(point, steady_clock::now());
}

TEST(point_after, of_a_passed_timeout_is_now) {
  expect_now(0s);
  expect_now(-1ns);
  expect_now(std::chrono::nanoseconds::min());
  expect_now(std::chrono::hours::min());
  expect_now(std::chrono::duration<double>{-1e300});
  expect_now(std::chrono::duration<float>{-std::numeric_limits<float>::infinity()});
  expect_now(std::chrono::duration<double>{std::numeric_limits<double>::quiet_NaN()});
}

TEST(point_after, of_other_timeouts_is_that_much_later_or_never) {
  for (const auto timeout : {1ns, 5ms / 1ns * 1ns, 3600s / 1ns * 1ns}) {
    const auto before = steady_clock::now();
    const auto point = point_after(timeout);
    EXPECT_GE(point, before + timeout);
    EXPECT_LE(point, steady_clock::now() + timeout);
  }
  EXPECT_EQ(point_after(std::chrono::hours::max()), steady_clock::time_point::max());
  EXPECT_EQ(point_after(std::chrono::nanoseconds::max()), steady_clock::time_point::max());
}

TEST(time_left, is_a_valid_timeout_for_a_system_call) {
  const auto over = time_left(steady_clock::now() - 3s);
  EXPECT_EQ(over.tv_sec, 0);
  EXPECT_EQ(over.tv_nsec, 0);
  EXPECT_EQ(time_left(steady_clock::time_point::min()).tv_sec, 0);
  const auto now = steady_clock::now();
  const auto left = time_left(now + 100s + 500ms);
  const auto sum = std::chrono::seconds{left.tv_sec} + std::chrono::nanoseconds{left.tv_nsec};
  EXPECT_LE(sum, 100s + 500ms);
  EXPECT_GE(sum, now + 100s + 500ms - steady_clock::now());
  EXPECT_LT(left.tv_nsec, 1'000'000'000);
}

}  // namespace
