// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/counter_lock.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/threads.hpp"

namespace {

using doorbell::base::counter_lock;
using doorbell::test::run_together;
using doorbell::test::sleeper;
using take_result = counter_lock::take_result;

constexpr std::uint64_t widest_word = (1ULL << 61) - 1;

std::uint64_t taken_from(counter_lock& lock, bool one) {
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(one, taken), take_result::taken);
  return taken;
}

take_result try_take(counter_lock& lock) {
  std::uint64_t taken = 0;
  return lock.try_take(false, taken);
}

void store(counter_lock& lock, std::uint64_t value, bool watched) {
  lock.lock();
  lock.set_value(value);
  lock.unlock(watched);
}

/// Whether the count is the word itself, so that it changes without the lock.
bool is_fast(counter_lock& lock) { return lock.try_add(0); }

TEST(counter_lock, what_is_added_is_taken) {
  counter_lock lock{3};
  EXPECT_TRUE(lock.try_add(4));
  EXPECT_EQ(lock.count(), 7U);
  EXPECT_EQ(taken_from(lock, false), 7U);
  EXPECT_EQ(lock.count(), 0U);
}

TEST(counter_lock, one_at_a_time_is_taken_until_it_is_empty) {
  counter_lock lock{2};
  EXPECT_EQ(taken_from(lock, true), 1U);
  EXPECT_EQ(taken_from(lock, true), 1U);
  EXPECT_EQ(try_take(lock), take_result::empty);
  EXPECT_EQ(lock.count(), 0U);
}

TEST(counter_lock, while_it_is_held_nothing_changes_past_the_holder) {
  counter_lock lock{5};
  lock.lock();
  EXPECT_FALSE(lock.try_add(1));
  EXPECT_EQ(try_take(lock), take_result::must_lock);
  EXPECT_EQ(lock.value(), 5U);
  lock.unlock(false);
  EXPECT_EQ(taken_from(lock, false), 5U);
}

TEST(counter_lock, an_unwatched_unlock_leaves_the_count_in_the_word) {
  counter_lock lock{5};
  store(lock, 9, false);
  EXPECT_TRUE(lock.try_add(1));
  EXPECT_EQ(lock.count(), 10U);
}

TEST(counter_lock, while_watched_every_change_needs_the_lock) {
  counter_lock lock{5};
  store(lock, 9, true);
  EXPECT_FALSE(lock.try_add(1));
  EXPECT_EQ(try_take(lock), take_result::must_lock);
  EXPECT_EQ(lock.count(), 9U);
  store(lock, 0, true);
  EXPECT_FALSE(lock.try_add(0));
  EXPECT_EQ(try_take(lock), take_result::must_lock);
}

TEST(counter_lock, when_nobody_watches_any_more_the_word_is_fast_again) {
  counter_lock lock{0};
  store(lock, 9, true);
  store(lock, 8, false);
  EXPECT_TRUE(lock.try_add(1));
  EXPECT_EQ(taken_from(lock, false), 9U);
}

TEST(counter_lock, the_word_holds_61_bits_and_no_more) {
  counter_lock lock{widest_word - 1};
  EXPECT_TRUE(lock.try_add(1));
  EXPECT_EQ(lock.count(), widest_word);
  EXPECT_FALSE(lock.try_add(1));
  EXPECT_FALSE(lock.try_add(UINT64_MAX));
  EXPECT_TRUE(lock.try_add(0));
  EXPECT_EQ(taken_from(lock, false), widest_word);
}

TEST(counter_lock, a_count_too_wide_for_the_word_needs_the_lock_until_it_has_shrunk) {
  for (const auto wide : {widest_word + 1, widest_word + 2, UINT64_MAX}) {
    counter_lock lock{0};
    store(lock, wide, false);
    EXPECT_FALSE(is_fast(lock));
    EXPECT_EQ(lock.count(), wide);
    lock.lock();
    EXPECT_EQ(lock.value(), wide);
    lock.set_value(widest_word);
    lock.unlock(false);
    EXPECT_TRUE(is_fast(lock));
    EXPECT_EQ(lock.count(), widest_word);
  }
}

TEST(counter_lock, may_start_with_a_count_too_wide_for_the_word) {
  counter_lock lock{UINT64_MAX};
  EXPECT_FALSE(is_fast(lock));
  EXPECT_EQ(lock.count(), UINT64_MAX);
  lock.lock();
  EXPECT_EQ(lock.value(), UINT64_MAX);
  lock.unlock(false);
}

TEST(counter_lock, the_count_can_be_asked_for_while_another_holds_the_lock) {
  counter_lock lock{7};
  lock.lock();
  EXPECT_EQ(lock.count(), 7U);
  lock.unlock(true);
  lock.lock();
  lock.set_value(8);
  EXPECT_EQ(lock.count(), 8U);
  lock.unlock(true);
}

// Oracle: a thread asleep on the lock has it after the unlock, with the count that was left there.
TEST(counter_lock, a_sleeper_gets_the_lock_that_is_given_back) {
  for (const bool watched : {false, true}) {
    counter_lock lock{0};
    sleeper waiter;
    lock.lock();
    const std::jthread waiting{[&] {
      waiter.here();
      lock.lock();
      EXPECT_EQ(lock.value(), 42U);
      lock.unlock(false);
    }};
    EXPECT_TRUE(waiter.wait_until_asleep());
    lock.set_value(42);
    lock.unlock(watched);
  }
}

// Oracle: one unlock is enough for all that sleep: each wakes the next.
TEST(counter_lock, sleepers_hand_the_lock_on) {
  counter_lock lock{0};
  std::vector<sleeper> waiters(4);
  lock.lock();
  std::vector<std::jthread> waiting;
  for (auto& waiter : waiters)
    waiting.emplace_back([&] {
      waiter.here();
      lock.lock();
      lock.set_value(lock.value() + 1);
      lock.unlock(false);
    });
  for (auto& waiter : waiters) EXPECT_TRUE(waiter.wait_until_asleep());
  lock.unlock(false);
  waiting.clear();
  EXPECT_EQ(lock.count(), waiters.size());
}

// Oracle: no increment of a plain variable is lost: one holder at a time.
TEST(counter_lock, increments_under_it_add_up) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 5000;
  counter_lock lock{0};
  std::size_t count = 0;
  run_together(threads, [&](std::size_t index) {
    for (std::size_t i = 0; i < each; ++i) {
      lock.lock();
      ++count;
      lock.unlock(index % 2 == 0);
    }
  });
  EXPECT_EQ(count, threads * each);
}

}  // namespace
