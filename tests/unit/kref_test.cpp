// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>

#include <doorbell/base/kref.hpp>

#include "support/threads.hpp"

namespace {

using doorbell::base::kref;
using doorbell::test::run_together;

TEST(kref, the_creators_put_is_the_last_without_other_references) {
  kref count;
  EXPECT_EQ(count.read(), 1U);
  EXPECT_TRUE(count.put());
}

TEST(kref, each_get_needs_its_own_put) {
  kref count;
  count.get();
  count.get();
  EXPECT_FALSE(count.put());
  EXPECT_FALSE(count.put());
  EXPECT_TRUE(count.put());
}

TEST(kref, a_count_that_starts_at_two_ends_with_the_second_put) {
  kref count{2};
  EXPECT_FALSE(count.put());
  EXPECT_TRUE(count.put());
}

TEST(kref, get_unless_zero_of_a_live_object_takes_a_reference) {
  kref count;
  EXPECT_TRUE(count.get_unless_zero());
  EXPECT_EQ(count.read(), 2U);
}

TEST(kref, get_unless_zero_of_a_dead_object_takes_no_reference) {
  kref count;
  ASSERT_TRUE(count.put());
  EXPECT_FALSE(count.get_unless_zero());
  EXPECT_EQ(count.read(), 0U);
}

// Oracle: exactly one of all puts is the last, and the thread that makes it sees the writes of all other holders. These
// are plain writes, so that ThreadSanitizer checks them.
TEST(kref, one_put_of_many_threads_is_the_last_and_sees_all_their_writes) {
  constexpr std::size_t threads = 4;
  for (int round = 0; round < 500; ++round) {
    kref count{threads};
    std::array<int, threads> written{};
    std::atomic<int> last_puts{0};
    run_together(threads, [&](std::size_t index) {
      count.get();
      written.at(index) = 1;
      EXPECT_FALSE(count.put());
      if (!count.put()) return;
      ++last_puts;
      for (const int mark : written) EXPECT_EQ(mark, 1);
    });
    ASSERT_EQ(last_puts, 1);
  }
}

// Oracle: a thread that has got a reference never finds the object dead, and the object dies exactly once.
TEST(kref, get_unless_zero_racing_the_last_put_gets_a_live_object_or_nothing) {
  constexpr std::size_t threads = 3;
  for (int round = 0; round < 500; ++round) {
    kref count;
    std::atomic<int> deaths{0};
    run_together(threads, [&](std::size_t index) {
      if (index != 0 && !count.get_unless_zero()) return;
      EXPECT_EQ(deaths, 0);
      if (count.put()) ++deaths;
    });
    ASSERT_EQ(deaths, 1);
    ASSERT_FALSE(count.get_unless_zero());
  }
}

}  // namespace
