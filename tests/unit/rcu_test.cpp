// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <doorbell/base/rcu.hpp>
#include <doorbell/base/unique_fd.hpp>

#include "support/child.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::base::rcu_pointer;
using doorbell::base::rcu_read_guard;
using doorbell::base::rcu_synchronize;
using doorbell::base::unique_fd;
using doorbell::test::in_child;
using doorbell::test::run_together;
using doorbell::test::sleeper;

// Kills a child that has not ended after twenty seconds. An alarm in the child would not work, because signals are
// blocked in a grace period.
bool ended_by_itself(pid_t child) {
  const unique_fd watch{static_cast<int>(::syscall(SYS_pidfd_open, child, 0))};
  pollfd ending{.fd = watch.get(), .events = POLLIN, .revents = 0};
  if (::poll(&ending, 1, 20'000) != 1) ::kill(child, SIGKILL);
  int status = -1;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status);
}

TEST(rcu, a_default_constructed_pointer_is_null) {
  const rcu_pointer<int> pointer;
  const rcu_read_guard reading;
  EXPECT_EQ(pointer.load(reading), nullptr);
  EXPECT_EQ(pointer.load_for_update(), nullptr);
}

TEST(rcu, a_reader_finds_the_object_published_last) {
  int first = 1;
  int second = 2;
  rcu_pointer<int> pointer{&first};
  const rcu_read_guard reading;
  EXPECT_EQ(pointer.load(reading), &first);
  pointer.store(&second);
  EXPECT_EQ(pointer.load(reading), &second);
}

TEST(rcu, exchange_returns_the_old_object) {
  int object = 1;
  rcu_pointer<int> pointer{&object};
  EXPECT_EQ(pointer.exchange(nullptr), &object);
  EXPECT_EQ(pointer.exchange(nullptr), nullptr);
}

TEST(rcu, synchronize_returns_without_readers) {
  rcu_synchronize();
  {
    const rcu_read_guard reading;
  }
  rcu_synchronize();
}

// Oracle: synchronize does not return while a section that began before it is open, although it sleeps and although a
// section nested in that one has ended.
TEST(rcu, synchronize_waits_for_the_end_of_the_outermost_section) {
  std::atomic<bool> synchronized{false};
  sleeper updater;
  std::jthread thread;
  {
    const rcu_read_guard outer;
    thread = std::jthread{[&] {
      updater.here();
      rcu_synchronize();
      synchronized = true;
    }};
    {
      const rcu_read_guard nested;
    }
    EXPECT_TRUE(updater.wait_until_asleep());
    EXPECT_FALSE(synchronized);
  }
  thread.join();
  EXPECT_TRUE(synchronized);
}

// Oracle: no reader finds a freed object; the sanitizers check this, and the mark in the object.
TEST(rcu, a_removed_object_is_valid_until_its_last_reader_has_left) {
  constexpr int alive = 42;
  constexpr std::size_t readers = 2;
  constexpr int rounds = 200;
  rcu_pointer<int> pointer{new int{alive}};
  std::atomic<bool> done{false};
  run_together(readers + 1, [&](std::size_t index) {
    if (index == 0) {
      for (int round = 0; round < rounds; ++round) {
        const std::unique_ptr<int> old{pointer.exchange(new int{alive})};
        rcu_synchronize();
        *old = 0;
      }
      done = true;
      return;
    }
    while (!done) {
      const rcu_read_guard reading;
      ASSERT_EQ(*pointer.load(reading), alive);
    }
  });
  delete pointer.load_for_update();
}

// Oracle: a section that sees a write that an updater made after synchronize also sees all its writes before
// synchronize, although only the grace period orders them.
TEST(rcu, writes_before_synchronize_are_seen_in_sections_that_begin_after_it) {
  for (int round = 0; round < 50; ++round) {
    int written = 0;
    std::atomic<bool> told{false};
    run_together(2, [&](std::size_t index) {
      if (index == 0) {
        written = 1;
        rcu_synchronize();
        told.store(true, std::memory_order_relaxed);
        return;
      }
      for (bool seen = false; !seen;) {
        const rcu_read_guard reading;
        seen = told.load(std::memory_order_relaxed);
        ASSERT_EQ(seen ? written : 1, 1);
      }
    });
  }
}

// Oracle: the child ends by itself; otherwise it would wait forever for the section of a thread that it does not have.
TEST(rcu, a_childs_synchronize_does_not_wait_for_the_parents_readers) {
  std::atomic<bool> reading_now{false};
  std::atomic<bool> forked{false};
  std::jthread reader{[&] {
    const rcu_read_guard reading;
    reading_now = true;
    reading_now.notify_one();
    forked.wait(false);
  }};
  reading_now.wait(false);
  const pid_t child = ::fork();
  if (child == 0) {
    rcu_synchronize();
    ::_exit(0);
  }
  forked = true;
  forked.notify_one();
  EXPECT_TRUE(ended_by_itself(child));
}

std::vector<int> blocked_signals() {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  std::vector<int> blocked;
  for (int number = 1; number <= SIGRTMAX; ++number)
    if (::sigismember(&mask, number) == 1) blocked.push_back(number);
  return blocked;
}

// Oracle: parent and child have the signal mask from before the fork. liburcu blocks all signals while a thread forks.
TEST(rcu, a_fork_does_not_change_the_signal_mask_of_parent_and_child) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "ThreadSanitizer reports the mutex that liburcu holds during fork(2)";
  sigset_t some;
  ::sigemptyset(&some);
  ::sigaddset(&some, SIGUSR2);
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &some, &before);
  const auto expected = blocked_signals();
  for (const bool is_in_section : {false, true}) {
    std::optional<rcu_read_guard> reading;
    if (is_in_section) reading.emplace();
    in_child([&] { EXPECT_EQ(blocked_signals(), expected); });
    EXPECT_EQ(blocked_signals(), expected);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(rcu, a_child_that_forgets_other_threads_keeps_its_signal_mask) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "ThreadSanitizer reports the mutex that liburcu holds during fork(2)";
  in_child([] {
    sigset_t some;
    ::sigemptyset(&some);
    ::sigaddset(&some, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &some, nullptr);
    const auto expected = blocked_signals();
    doorbell::base::rcu_forget_other_threads();
    EXPECT_EQ(blocked_signals(), expected);
    rcu_synchronize();
  });
}

}  // namespace
