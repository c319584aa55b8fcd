// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/counter_lock.hpp>

#include <absl/base/thread_annotations.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <thread>

#include "support/race.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::base::counter_lock;
using doorbell::test::budget;
using doorbell::test::race;
using doorbell::test::run_together;
using doorbell::test::sleeper;
using namespace std::chrono_literals;
using take_result = counter_lock::take_result;

constexpr auto largest = std::numeric_limits<std::uint64_t>::max();
constexpr auto widest = (1ULL << 49) - 1;  // in the word

void add_under_lock(counter_lock& lock, std::uint64_t n, bool watched) {
  lock.lock();
  lock.set_value(lock.value() + n);
  lock.unlock(watched);
}

TEST(counter_lock, a_free_count_is_added_to_and_taken_without_the_lock) {
  counter_lock lock{40};
  EXPECT_TRUE(lock.try_add(2));
  EXPECT_EQ(lock.count(), 42U);
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(false, taken), take_result::taken);
  EXPECT_EQ(taken, 42U);
  EXPECT_EQ(lock.count(), 0U);
}

TEST(counter_lock, one_of_a_count_can_be_taken) {
  counter_lock lock{2};
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(true, taken), take_result::taken);
  EXPECT_EQ(taken, 1U);
  EXPECT_EQ(lock.count(), 1U);
}

TEST(counter_lock, there_is_nothing_to_take_from_an_empty_one) {
  counter_lock lock{0};
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(false, taken), take_result::empty);
  EXPECT_EQ(lock.try_take(true, taken), take_result::empty);
  EXPECT_EQ(lock.count(), 0U);
}

TEST(counter_lock, while_held_the_count_is_the_holders_to_change) {
  counter_lock lock{7};
  lock.lock();
  std::uint64_t taken = 0;
  EXPECT_FALSE(lock.try_add(1));
  EXPECT_EQ(lock.try_take(false, taken), take_result::must_lock);
  EXPECT_EQ(lock.value(), 7U);
  EXPECT_EQ(lock.count(), 7U);
  lock.set_value(9);
  lock.unlock(false);
  EXPECT_EQ(lock.count(), 9U);
}

TEST(counter_lock, while_watched_every_change_needs_the_lock) {
  counter_lock lock{7};
  lock.lock();
  lock.unlock(true);
  std::uint64_t taken = 0;
  EXPECT_FALSE(lock.try_add(1));
  EXPECT_EQ(lock.try_take(false, taken), take_result::must_lock);
  EXPECT_EQ(lock.count(), 7U);
  add_under_lock(lock, 1, true);
  EXPECT_EQ(lock.count(), 8U);
}

TEST(counter_lock, an_unlock_that_leaves_nobody_watching_frees_the_count_again) {
  counter_lock lock{7};
  add_under_lock(lock, 1, true);
  add_under_lock(lock, 1, false);
  EXPECT_TRUE(lock.try_add(1));
  EXPECT_EQ(lock.count(), 10U);
}

TEST(counter_lock, a_count_too_large_for_the_word_is_kept_whole_behind_the_lock) {
  counter_lock lock{largest};
  std::uint64_t taken = 0;
  EXPECT_FALSE(lock.try_add(1));
  EXPECT_EQ(lock.try_take(false, taken), take_result::must_lock);
  EXPECT_EQ(lock.count(), largest);
  lock.lock();
  EXPECT_EQ(lock.value(), largest);
  lock.unlock(false);
  EXPECT_EQ(lock.count(), largest);
}

TEST(counter_lock, an_addition_too_large_for_the_word_adds_nothing) {
  counter_lock lock{7};
  EXPECT_FALSE(lock.try_add(largest - 7));
  EXPECT_FALSE(lock.try_add(largest));
  EXPECT_EQ(lock.count(), 7U);
}

TEST(counter_lock, a_count_that_was_too_large_goes_back_into_the_word_when_it_fits) {
  counter_lock lock{largest};
  lock.lock();
  lock.set_value(7);
  lock.unlock(false);
  EXPECT_TRUE(lock.try_add(1));
  EXPECT_EQ(lock.count(), 8U);
}

TEST(counter_lock, the_word_holds_49_bits_and_no_more) {
  counter_lock lock{widest - 1};
  EXPECT_TRUE(lock.try_add(1));
  EXPECT_EQ(lock.count(), widest);
  EXPECT_FALSE(lock.try_add(1));
  EXPECT_TRUE(lock.try_add(0));
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(false, taken), take_result::taken);
  EXPECT_EQ(taken, widest);
}

TEST(counter_lock, a_count_one_too_large_needs_the_lock_until_it_has_shrunk_by_one) {
  counter_lock lock{widest};
  add_under_lock(lock, 1, false);
  EXPECT_FALSE(lock.try_add(0));
  EXPECT_EQ(lock.count(), widest + 1);
  lock.lock();
  EXPECT_EQ(lock.value(), widest + 1);
  lock.set_value(widest);
  lock.unlock(false);
  EXPECT_TRUE(lock.try_add(0));
  EXPECT_EQ(lock.count(), widest);
}

TEST(counter_lock, while_watched_the_count_shows_what_the_holder_does) {
  counter_lock lock{7};
  lock.lock();
  lock.unlock(true);
  lock.lock();
  lock.set_value(8);
  EXPECT_EQ(lock.count(), 8U);
  lock.unlock(true);
}

// Oracle: what is taken, with the lock and without, and what is left add up to what was added, while the queue is
// watched now and then.
TEST(counter_lock, what_many_threads_add_is_what_they_take) {
  constexpr std::size_t adders = 2;
  constexpr std::size_t takers = 2;
  constexpr std::uint64_t each = 5000;
  counter_lock lock{0};
  std::atomic<std::uint64_t> total_taken{0};
  run_together(adders + takers, [&](std::size_t index) {
    for (std::uint64_t i = 0; i < each; ++i) {
      const bool watched = i % 16 < 8;
      if (index < adders) {
        if (!lock.try_add(1)) add_under_lock(lock, 1, watched);
        continue;
      }
      std::uint64_t taken = 0;
      switch (lock.try_take(i % 2 == 0, taken)) {
        case take_result::taken:
          total_taken += taken;
          break;
        case take_result::empty:
          break;
        case take_result::must_lock:
          lock.lock();
          total_taken += lock.value();
          lock.set_value(0);
          lock.unlock(watched);
          break;
      }
    }
  });
  EXPECT_EQ(total_taken + lock.count(), adders * each);
}

// Oracle: no increment of a plain variable under the lock is lost.
TEST(counter_lock, increments_under_it_add_up) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 5000;
  struct {
    counter_lock lock{0};
    std::size_t count DOORBELL_GUARDED_BY(lock) = 0;
  } shared;
  run_together(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) {
      shared.lock.lock();
      ++shared.count;
      shared.lock.unlock(shared.count % 3 == 0);
    }
  });
  shared.lock.lock();
  EXPECT_EQ(shared.count, threads * each);
  shared.lock.unlock(false);
}

// Oracle: all that sleep on the lock have it in the end, one after the other, whether or not the queue is watched, and
// though the count moves between them.
TEST(counter_lock, several_sleepers_get_the_lock_one_after_the_other) {
  constexpr std::size_t sleepers = 3;
  for (const bool watched : {false, true}) {
    counter_lock lock{0};
    std::array<sleeper, sleepers> waiters;
    lock.lock();
    std::jthread others{[&] {
      run_together(sleepers, [&](std::size_t index) {
        waiters.at(index).here();
        add_under_lock(lock, 1, watched);
      });
    }};
    for (const auto& waiter : waiters) EXPECT_TRUE(waiter.wait_until_asleep());
    lock.unlock(watched);
    others.join();
    EXPECT_EQ(lock.count(), sleepers);
  }
}

// Oracle: the next holder finds what was added between the unlock and its lock, though it has slept.
TEST(counter_lock, a_sleeper_finds_what_is_added_before_it_has_the_lock) {
  for (budget rounds{50, 2s}; rounds.next();) {
    counter_lock lock{0};
    sleeper waiter;
    lock.lock();
    std::jthread other{[&] {
      waiter.here();
      add_under_lock(lock, 1, false);
    }};
    EXPECT_TRUE(waiter.wait_until_asleep());
    lock.unlock(false);
    if (!lock.try_add(5)) add_under_lock(lock, 5, false);
    other.join();
    EXPECT_EQ(lock.count(), 6U);
  }
}

// Oracle: never both and never neither: a signal is found by the waiter that comes after it, or finds the waiter that
// came before.
TEST(counter_lock, a_waiter_that_arrives_and_a_signaller_find_each_other_exactly_once) {
  std::optional<counter_lock> bell;
  bool waiter_found_the_signal = false;
  bool signal_found_the_waiter = false;
  race(
      2, budget{20'000, 1s}, [&] { bell.emplace(0); },
      [&](std::size_t index) {
        if (index == 0) {
          bell->lock();
          waiter_found_the_signal = bell->value() != 0;
          bell->unlock(true);
        } else if (bell->try_add(1)) {
          signal_found_the_waiter = false;
        } else {
          bell->lock();
          signal_found_the_waiter = true;
          bell->unlock(true);
        }
      },
      [&] { EXPECT_NE(waiter_found_the_signal, signal_found_the_waiter); });
}

// Oracle: whoever holds the lock last may free it at once; an unlock that is not yet back touches nothing of it (which
// AddressSanitizer and ThreadSanitizer watch).
TEST(counter_lock, the_next_holder_may_free_it_while_the_former_is_still_in_unlock) {
  struct object {
    counter_lock lock{0};
    int holders DOORBELL_GUARDED_BY(lock) = 2;
  };
  for (budget rounds{1000, 1s}; rounds.next();) {
    auto* shared = new object;
    run_together(2, [&](std::size_t) {
      shared->lock.lock();
      const bool last = --shared->holders == 0;
      shared->lock.unlock(false);
      if (last) delete shared;
    });
  }
}

}  // namespace
