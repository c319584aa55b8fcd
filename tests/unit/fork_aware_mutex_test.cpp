// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/fork_aware_mutex.hpp>
#include <doorbell/base/process_generation.hpp>

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <thread>

#include "support/child.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::base::fork_aware_lock;
using doorbell::base::fork_aware_mutex;
using doorbell::base::process_generation;
using doorbell::test::expect_success;
using doorbell::test::in_child;
using doorbell::test::run_together;
using doorbell::test::sleeper;

/// A thread that sleeps for a held mutex, and unlocks it after it has acquired it. When the constructor returns, the
/// thread is asleep.
class waiting_thread {
 public:
  explicit waiting_thread(fork_aware_mutex& mutex)
      : thread_{[this, &mutex] {
          sleeper_.here();
          EXPECT_FALSE(mutex.lock()) << "no thread of a parent process held it";
          mutex.unlock();
        }} {
    EXPECT_TRUE(sleeper_.wait_until_asleep());
  }
  ~waiting_thread() { thread_.join(); }
  waiting_thread(const waiting_thread&) = delete;
  waiting_thread& operator=(const waiting_thread&) = delete;

 private:
  sleeper sleeper_;
  std::thread thread_;
};

TEST(process_generation, is_the_same_at_each_call_and_in_each_thread) {
  const auto mine = process_generation();
  EXPECT_NE(mine, 0U);
  EXPECT_EQ(process_generation(), mine);
  std::uint32_t others = 0;
  std::thread{[&] { others = process_generation(); }}.join();
  EXPECT_EQ(others, mine);
}

void expect_growth_from_parent_to_child_to_grandchild() {
  const auto parents = process_generation();
  in_child([&] {
    const auto childs = process_generation();
    EXPECT_GT(childs, parents);
    in_child([&] { EXPECT_GT(process_generation(), childs); });
  });
  EXPECT_EQ(process_generation(), parents);
}

TEST(process_generation, grows_from_parent_to_child_to_grandchild) {
  expect_growth_from_parent_to_child_to_grandchild();
}

// The child makes only async-signal-safe calls: no fork handler of the C library ran in it.
TEST(process_generation, grows_in_a_child_that_the_system_call_created) {
  const auto parents = process_generation();
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(process_generation() > parents ? 0 : 1);
  expect_success(child);
}

// As in qemu-user, which accepts MADV_WIPEONFORK and does nothing.
TEST(process_generation, grows_in_a_child_of_fork_where_the_page_is_not_cleared) {
  in_child([] {
    auto& page = doorbell::base::seam::process_page::here;
    ASSERT_EQ(::madvise(&page, sizeof page, MADV_KEEPONFORK), 0) << errno;
    expect_growth_from_parent_to_child_to_grandchild();
  });
}

TEST(process_generation, stays_that_of_the_parent_in_a_child_that_shares_its_memory) {
  if (doorbell::test::thread_sanitized) GTEST_SKIP() << "ThreadSanitizer makes a fork(2) of each vfork(2)";
  const auto parents = process_generation();
  std::uint32_t childs = 0;
  const pid_t child = ::vfork();  // NOLINT(bugprone-unsafe-functions): the test is about vfork(2)
  if (child == 0) {
    childs = process_generation();
    ::_exit(0);
  }
  expect_success(child);
  EXPECT_EQ(childs, parents);
}

TEST(fork_aware_mutex, is_held_by_one_thread) {
  fork_aware_mutex mutex;
  EXPECT_FALSE(mutex.lock());
  std::thread{[&] {
    const bool locked = mutex.try_lock();
    EXPECT_FALSE(locked);
    if (locked) mutex.unlock();
  }}.join();
  mutex.unlock();
  const bool locked = mutex.try_lock();
  EXPECT_TRUE(locked);
  if (locked) mutex.unlock();
  EXPECT_FALSE(mutex.lock());
  mutex.unlock();
}

// Oracle: no increment of a plain variable under the mutex is lost.
TEST(fork_aware_mutex, increments_under_the_mutex_add_up) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 5000;
  struct {
    fork_aware_mutex mutex;
    std::size_t count DOORBELL_GUARDED_BY(mutex) = 0;
  } shared;
  run_together(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) {
      const fork_aware_lock held{shared.mutex};
      ++shared.count;
    }
  });
  const fork_aware_lock held{shared.mutex};
  EXPECT_EQ(shared.count, threads * each);
}

TEST(fork_aware_mutex, an_unlock_wakes_a_thread_that_sleeps_for_it) {
  fork_aware_mutex mutex;
  mutex.lock();
  waiting_thread other{mutex};
  mutex.unlock();
}

TEST(fork_aware_mutex, locked_for_good_stays_locked_in_a_child) {
  fork_aware_mutex mutex;
  mutex.lock_for_good();
  const auto expect_locked = [&] {
    EXPECT_FALSE(mutex.try_lock_for_good());
    const bool locked = mutex.try_lock();
    EXPECT_FALSE(locked);
    if (locked) mutex.unlock();
  };
  expect_locked();
  in_child(expect_locked);
}

// Oracle: a thread that locks the mutex for good sees the writes that the holder made under it.
TEST(fork_aware_mutex, lock_for_good_waits_for_the_holder) {
  fork_aware_mutex mutex;
  sleeper last;
  int done = 0;
  mutex.lock();
  std::thread other{[&] {
    last.here();
    mutex.lock_for_good();
    EXPECT_EQ(done, 1);
  }};
  EXPECT_TRUE(last.wait_until_asleep());
  done = 1;
  mutex.unlock();
  other.join();
  const auto expect_locked = [&] {
    EXPECT_FALSE(mutex.try_lock_for_good());
    const bool locked = mutex.try_lock();
    EXPECT_FALSE(locked);
    if (locked) mutex.unlock();
  };
  expect_locked();
  in_child(expect_locked);
}

TEST(fork_aware_mutex, lock_in_a_child_takes_it_over_from_a_thread_of_the_parent_and_reports_it) {
  fork_aware_mutex mutex;
  std::latch is_held{1};
  std::latch may_end{1};
  std::thread holder{[&] {
    mutex.lock();
    is_held.count_down();
    may_end.wait();
    mutex.unlock();
  }};
  is_held.wait();
  in_child([&] {
    EXPECT_TRUE(mutex.lock());
    mutex.unlock();
    EXPECT_FALSE(mutex.lock());
    mutex.unlock();
  });
  in_child([&] {
    const bool locked = mutex.try_lock();
    EXPECT_TRUE(locked);
    const bool again = mutex.try_lock();
    EXPECT_FALSE(again);
    if (locked) mutex.unlock();
  });
  may_end.count_down();
  holder.join();
}

TEST(fork_aware_mutex, lock_in_a_child_succeeds_although_threads_of_the_parent_wait_for_it) {
  fork_aware_mutex mutex;
  mutex.lock();
  waiting_thread other{mutex};
  in_child([&]() DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
    mutex.unlock();
    EXPECT_FALSE(mutex.lock());
    mutex.unlock();
  });
  mutex.unlock();
}

TEST(fork_aware_mutex, locked_for_good_is_never_locked_again) {
  fork_aware_mutex free;
  EXPECT_TRUE(free.try_lock_for_good());
  fork_aware_mutex held;
  held.lock();
  EXPECT_FALSE(held.try_lock_for_good());
  held.unlock();
  held.lock_for_good();
  for (auto* const each : {&free, &held}) {
    EXPECT_FALSE(each->try_lock_for_good());
    const bool locked = each->try_lock();
    EXPECT_FALSE(locked);
    if (locked) each->unlock();
  }
}

}  // namespace
