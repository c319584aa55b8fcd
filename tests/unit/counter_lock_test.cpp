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
constexpr auto widest = (1ULL << 49) - 1;  // the largest count that fits into the lock's word

void add_under_lock(counter_lock& lock, std::uint64_t n, bool watched) {
  lock.lock();
  lock.set_value(lock.value() + n);
  lock.unlock(watched);
}

TEST(counter_lock, add_and_take_need_no_lock_while_the_lock_is_free) {
  counter_lock lock{40};
  EXPECT_TRUE(lock.try_add(2));
  EXPECT_EQ(lock.count(), 42U);
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(false, taken), take_result::taken);
  EXPECT_EQ(taken, 42U);
  EXPECT_EQ(lock.count(), 0U);
}

TEST(counter_lock, take_one_leaves_the_rest_of_the_count) {
  counter_lock lock{2};
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(true, taken), take_result::taken);
  EXPECT_EQ(taken, 1U);
  EXPECT_EQ(lock.count(), 1U);
}

TEST(counter_lock, take_from_a_count_of_zero_returns_empty) {
  counter_lock lock{0};
  std::uint64_t taken = 0;
  EXPECT_EQ(lock.try_take(false, taken), take_result::empty);
  EXPECT_EQ(lock.try_take(true, taken), take_result::empty);
  EXPECT_EQ(lock.count(), 0U);
}

TEST(counter_lock, while_held_only_the_holder_changes_the_count) {
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

TEST(counter_lock, after_an_unlock_without_watchers_add_needs_no_lock) {
  counter_lock lock{7};
  add_under_lock(lock, 1, true);
  add_under_lock(lock, 1, false);
  EXPECT_TRUE(lock.try_add(1));
  EXPECT_EQ(lock.count(), 10U);
}

TEST(counter_lock, a_count_too_large_for_the_word_is_kept_under_the_lock) {
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

TEST(counter_lock, a_count_returns_into_the_word_when_it_fits_again) {
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

TEST(counter_lock, a_count_one_larger_than_the_word_holds_needs_the_lock_until_it_shrinks) {
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

TEST(counter_lock, count_of_a_watched_lock_is_the_new_value_of_its_holder) {
  counter_lock lock{7};
  lock.lock();
  lock.unlock(true);
  lock.lock();
  lock.set_value(8);
  EXPECT_EQ(lock.count(), 8U);
  lock.unlock(true);
}

// Oracle: the sum of all takes, with and without the lock, and the remaining count equal the sum of all additions,
// while the queue is watched now and then.
TEST(counter_lock, concurrent_adds_and_takes_add_up) {
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
TEST(counter_lock, increments_under_the_lock_add_up) {
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

// Oracle: each thread that sleeps on the lock acquires it, one after the other, whether or not the queue is watched,
// and although the count changes between them.
TEST(counter_lock, several_sleepers_acquire_the_lock_one_after_the_other) {
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

// Oracle: a thread that has slept for the lock sees an addition that was made after the unlock and before it acquired
// the lock.
TEST(counter_lock, a_sleeper_sees_an_addition_made_before_it_acquires_the_lock) {
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

// Oracle: exactly one of the two holds: the waiter arrives after the signal and finds the count, or the waiter arrives
// before the signal, and the signaller finds it.
TEST(counter_lock, a_waiter_that_arrives_and_a_signaller_find_each_other_exactly_once) {
  std::optional<counter_lock> efd;
  bool waiter_found_the_signal = false;
  bool signal_found_the_waiter = false;
  race(
      2, budget{20'000, 1s}, [&] { efd.emplace(0); },
      [&](std::size_t index) {
        if (index == 0) {
          efd->lock();
          waiter_found_the_signal = efd->value() != 0;
          efd->unlock(true);
        } else if (efd->try_add(1)) {
          signal_found_the_waiter = false;
        } else {
          efd->lock();
          signal_found_the_waiter = true;
          efd->unlock(true);
        }
      },
      [&] { EXPECT_NE(waiter_found_the_signal, signal_found_the_waiter); });
}

// Oracle: the last holder of the lock may free it immediately: an unlock that has not returned does not access the
// memory again (AddressSanitizer and ThreadSanitizer check this).
TEST(counter_lock, the_next_holder_may_free_it_while_the_previous_one_is_in_unlock) {
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
