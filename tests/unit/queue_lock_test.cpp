// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/queue_lock.hpp>

#include <absl/base/thread_annotations.h>
#include <gtest/gtest.h>

#include <array>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include "support/threads.hpp"

namespace {

using doorbell::base::atomic;
using doorbell::base::queue_lock;
using doorbell::test::run_together;
using doorbell::test::sleeper;

TEST(queue_lock, is_idle_when_free_and_empty) {
  const queue_lock lock;
  EXPECT_TRUE(lock.idle());
}

TEST(queue_lock, is_not_idle_while_held) {
  queue_lock lock;
  lock.lock();
  EXPECT_FALSE(lock.idle());
  lock.unlock(false);
  EXPECT_TRUE(lock.idle());
}

TEST(queue_lock, is_not_idle_while_somebody_is_on_the_queue) {
  queue_lock lock;
  lock.lock();
  lock.unlock(true);
  EXPECT_FALSE(lock.idle());
}

TEST(queue_lock, each_unlock_says_anew_whether_the_queue_has_entries) {
  queue_lock lock;
  for (const bool populated : {true, true, false, false, true, false}) {
    lock.lock();
    EXPECT_FALSE(lock.idle());
    lock.unlock(populated);
    EXPECT_EQ(lock.idle(), !populated);
  }
}

// Oracle: no increment of a plain variable is lost, and after the last unlock the lock is idle again though many
// threads slept on it.
TEST(queue_lock, increments_under_it_add_up) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 5000;
  struct {
    queue_lock lock;
    std::size_t count ABSL_GUARDED_BY(lock) = 0;
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
  EXPECT_TRUE(shared.lock.idle());
}

// Oracle: a thread asleep on the lock has it after the unlock, whether or not the queue has entries.
TEST(queue_lock, a_sleeper_gets_the_lock_that_is_given_back) {
  for (const bool populated : {false, true}) {
    queue_lock lock;
    sleeper waiter;
    lock.lock();
    const std::jthread waiting{[&] {
      waiter.here();
      lock.lock();
      lock.unlock(populated);
    }};
    EXPECT_TRUE(waiter.wait_until_asleep());
    lock.unlock(populated);
  }
}

// Oracle: all sleepers get the lock in the end; the wake is passed on from one to the next.
TEST(queue_lock, several_sleepers_get_the_lock_one_after_the_other) {
  constexpr std::size_t sleepers = 3;
  struct {
    queue_lock lock;
    std::size_t had_it ABSL_GUARDED_BY(lock) = 0;
  } shared;
  std::array<sleeper, sleepers> waiters;
  shared.lock.lock();
  std::jthread others{[&] {
    run_together(sleepers, [&](std::size_t index) {
      waiters.at(index).here();
      shared.lock.lock();
      ++shared.had_it;
      shared.lock.unlock(true);
    });
  }};
  for (const auto& waiter : waiters) EXPECT_TRUE(waiter.wait_until_asleep());
  shared.lock.unlock(true);
  others.join();
  shared.lock.lock();
  EXPECT_EQ(shared.had_it, sleepers);
  shared.lock.unlock(false);
}

// Oracle: never does the waiter read the old count while the signaller finds the queue idle.
TEST(queue_lock, a_waiter_that_arrives_and_a_signaller_never_miss_each_other) {
  constexpr int rounds = 3000;
  struct bell {
    queue_lock lock;
    atomic<std::uint64_t> count{0};
  };
  auto current = std::make_unique<bell>();
  bool waiter_saw_the_count = false;
  bool signaller_saw_the_waiter = false;
  int missed = 0;
  std::barrier round_begins{2};
  std::barrier round_ends{2, [&]() noexcept {
                            if (!waiter_saw_the_count && !signaller_saw_the_waiter) ++missed;
                            current = std::make_unique<bell>();
                          }};
  run_together(2, [&](std::size_t index) {
    for (int round = 0; round < rounds; ++round) {
      round_begins.arrive_and_wait();
      if (index == 0) {
        current->lock.lock();
        waiter_saw_the_count = current->count.load() != 0;
        current->lock.unlock(true);
      } else {
        current->count.fetch_add(1);
        signaller_saw_the_waiter = !current->lock.idle();
      }
      round_ends.arrive_and_wait();
    }
  });
  EXPECT_EQ(missed, 0);
}

// Oracle: whoever holds the lock last may free it at once; an unlock that is not yet back touches nothing of it (which
// AddressSanitizer and ThreadSanitizer watch).
TEST(queue_lock, the_next_holder_may_free_it_while_the_former_is_still_in_unlock) {
  struct object {
    queue_lock lock;
    int holders ABSL_GUARDED_BY(lock) = 2;
  };
  for (int round = 0; round < 1000; ++round) {
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
