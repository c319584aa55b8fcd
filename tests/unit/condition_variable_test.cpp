// SPDX-License-Identifier: Apache-2.0
#include <absl/base/thread_annotations.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <thread>

#include <doorbell/base/mutex.hpp>

#include "support/threads.hpp"

namespace {

using doorbell::base::condition_variable;
using doorbell::base::mutex;
using doorbell::base::mutex_lock;
using doorbell::test::run_together;
using doorbell::test::sleeper;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

// Oracle: each item is taken exactly once: no notify_one was lost, and no item was taken twice.
TEST(condition_variable, each_item_goes_to_exactly_one_taker) {
  constexpr std::size_t takers = 2;
  constexpr std::size_t items = 2000;
  struct {
    mutex lock;
    condition_variable more;
    std::size_t available DOORBELL_GUARDED_BY(lock) = 0;
    bool closed DOORBELL_GUARDED_BY(lock) = false;
  } queue;
  std::array<std::size_t, takers + 1> taken{};

  run_together(takers + 1, [&](std::size_t index) {
    if (index == takers) {
      for (std::size_t i = 0; i < items; ++i) {
        {
          const mutex_lock held{queue.lock};
          ++queue.available;
        }
        queue.more.notify_one();
      }
      const mutex_lock held{queue.lock};
      queue.closed = true;
      queue.more.notify_all();
      return;
    }
    const mutex_lock held{queue.lock};
    for (;;) {
      while (queue.available == 0 && !queue.closed) queue.more.wait(queue.lock);
      if (queue.available == 0) return;
      --queue.available;
      ++taken.at(index);
    }
  });
  EXPECT_EQ(taken[0] + taken[1], items);
}

// Oracle: one notify_all wakes every sleeper.
TEST(condition_variable, notify_all_wakes_every_sleeper) {
  constexpr std::size_t sleepers = 4;
  struct {
    mutex lock;
    condition_variable changed;
    bool open DOORBELL_GUARDED_BY(lock) = false;
  } gate;
  std::array<sleeper, sleepers> waiters;
  run_together(sleepers + 1, [&](std::size_t index) {
    if (index == sleepers) {
      for (const auto& waiter : waiters) EXPECT_TRUE(waiter.wait_until_asleep());
      const mutex_lock held{gate.lock};
      gate.open = true;
      gate.changed.notify_all();
      return;
    }
    waiters.at(index).here();
    const mutex_lock held{gate.lock};
    while (!gate.open) gate.changed.wait(gate.lock);
  });
}

TEST(condition_variable, wait_until_a_past_deadline_returns_false_with_the_lock_held) {
  mutex lock;
  condition_variable never;
  lock.lock();
  EXPECT_FALSE(never.wait_until(lock, steady_clock::now() - 1s));
  bool taken_by_another = false;
  std::jthread{[&] {
    if (!lock.try_lock()) return;
    taken_by_another = true;
    lock.unlock();
  }}.join();
  EXPECT_FALSE(taken_by_another);
  lock.unlock();
}

TEST(condition_variable, a_wait_without_notify_lasts_until_its_deadline) {
  mutex lock;
  condition_variable never;
  const auto deadline = steady_clock::now() + 5ms;
  const mutex_lock held{lock};
  while (never.wait_until(lock, deadline)) continue;
  EXPECT_GE(steady_clock::now(), deadline);
}

// Oracle: a notify ends the wait before its deadline.
TEST(condition_variable, a_notified_wait_ends_before_its_deadline) {
  struct {
    mutex lock;
    condition_variable changed;
    bool open DOORBELL_GUARDED_BY(lock) = false;
  } gate;
  const auto deadline = steady_clock::now() + 1h;
  run_together(2, [&](std::size_t index) {
    const mutex_lock held{gate.lock};
    if (index == 0) {
      gate.open = true;
      gate.changed.notify_one();
      return;
    }
    while (!gate.open) EXPECT_TRUE(gate.changed.wait_until(gate.lock, deadline));
  });
}

}  // namespace
