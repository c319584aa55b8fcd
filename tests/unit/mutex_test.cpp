// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/mutex.hpp>

#include <absl/base/thread_annotations.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <thread>

#include "support/threads.hpp"

namespace {

using doorbell::base::mutex;
using doorbell::base::mutex_lock;
using doorbell::test::run_together;
using doorbell::test::sleeper;

bool another_thread_can_lock(mutex& lock) {
  bool taken = false;
  std::jthread{[&] {
    if (!lock.try_lock()) return;
    taken = true;
    lock.unlock();
  }}.join();
  return taken;
}

TEST(mutex, a_free_mutex_can_be_locked_by_another_thread) {
  mutex lock;
  EXPECT_TRUE(another_thread_can_lock(lock));
}

TEST(mutex, a_held_mutex_cannot_be_locked_by_another_thread) {
  mutex lock;
  lock.lock();
  EXPECT_FALSE(another_thread_can_lock(lock));
  lock.unlock();
  EXPECT_TRUE(another_thread_can_lock(lock));
}

TEST(mutex_lock, holds_for_its_scope_and_no_longer) {
  mutex lock;
  {
    const mutex_lock held{lock};
    EXPECT_FALSE(another_thread_can_lock(lock));
  }
  EXPECT_TRUE(another_thread_can_lock(lock));
}

// Oracle: no increment of a plain variable is lost, whether the mutex was locked by lock() or try_lock().
TEST(mutex, increments_under_the_mutex_add_up) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 5000;
  struct {
    mutex lock;
    std::size_t count DOORBELL_GUARDED_BY(lock) = 0;
  } shared;
  run_together(threads, [&](std::size_t index) {
    for (std::size_t i = 0; i < each; ++i) {
      if (index % 2 == 0) {
        const mutex_lock held{shared.lock};
        ++shared.count;
      } else {
        while (!shared.lock.try_lock()) std::this_thread::yield();
        ++shared.count;
        shared.lock.unlock();
      }
    }
  });
  const mutex_lock held{shared.lock};
  EXPECT_EQ(shared.count, threads * each);
}

// Oracle: a thread that sleeps on the mutex acquires it after the unlock, and sees the writes of the previous holder.
TEST(mutex, a_sleeper_acquires_the_mutex_after_the_unlock) {
  struct {
    mutex lock;
    int value DOORBELL_GUARDED_BY(lock) = 0;
  } shared;
  sleeper waiter;
  shared.lock.lock();
  const std::jthread waiting{[&] {
    waiter.here();
    const mutex_lock held{shared.lock};
    EXPECT_EQ(shared.value, 42);
  }};
  EXPECT_TRUE(waiter.wait_until_asleep());
  shared.value = 42;
  shared.lock.unlock();
}

}  // namespace
