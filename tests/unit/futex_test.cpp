// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/futex.hpp>

#include <gtest/gtest.h>

#include <pthread.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::base::atomic;
using doorbell::base::deadline;
using doorbell::base::futex_result;
using doorbell::base::futex_wait;
using doorbell::base::futex_wake_one;
using doorbell::test::eventually;
using doorbell::test::run_together;
using doorbell::test::sleeper;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

TEST(futex, a_wait_for_a_word_that_has_changed_returns_woken) {
  const atomic<std::uint32_t> word{1};
  EXPECT_EQ(futex_wait(word, 0), futex_result::woken);
}

TEST(futex, a_wait_with_a_passed_deadline_times_out_immediately) {
  const atomic<std::uint32_t> word{0};
  EXPECT_EQ(futex_wait(word, 0, steady_clock::now() - 1s), futex_result::timed_out);
}

TEST(futex, a_deadline_before_the_clock_began_has_passed) {
  const atomic<std::uint32_t> word{0};
  EXPECT_EQ(futex_wait(word, 0, steady_clock::time_point::min()), futex_result::timed_out);
}

TEST(futex, times_out_at_its_deadline_and_not_before) {
  const atomic<std::uint32_t> word{0};
  const auto until = steady_clock::now() + 5ms;
  EXPECT_EQ(futex_wait(word, 0, until), futex_result::timed_out);
  EXPECT_GE(steady_clock::now(), until);
}

TEST(futex, does_not_change_errno) {
  const atomic<std::uint32_t> word{0};
  errno = EXFULL;
  EXPECT_EQ(futex_wait(word, 0, steady_clock::now() - 1s), futex_result::timed_out);
  EXPECT_EQ(futex_wait(word, 1), futex_result::woken);
  futex_wake_one(&word);
  EXPECT_EQ(errno, EXFULL);
}

// Oracle: each turn that one thread hands over is taken by the other: neither sleeps on a word that has changed.
TEST(futex, no_wake_is_lost_between_two_threads_that_take_turns) {
  constexpr std::uint32_t turns = 2000;
  atomic<std::uint32_t> turn{0};
  run_together(2, [&](std::size_t index) {
    for (auto mine = static_cast<std::uint32_t>(index); mine < turns; mine += 2) {
      for (auto seen = turn.load(); seen != mine; seen = turn.load()) futex_wait(turn, seen);
      turn.store(mine + 1);
      futex_wake_one(&turn);
    }
  });
  EXPECT_EQ(turn, turns);
}

TEST(futex_high, a_wait_for_an_upper_half_that_has_changed_returns) {
  const atomic<std::uint64_t> word{1ULL << 32};
  doorbell::base::futex_wait_high(word, 0);
}

// Oracle: as above, with the turn in the upper half, while the lower half changes continually.
TEST(futex_high, no_wake_is_lost_while_the_lower_half_changes) {
  constexpr std::uint64_t turns = 2000;
  atomic<std::uint64_t> word{0};
  run_together(2, [&](std::size_t index) {
    for (std::uint64_t mine = index; mine < turns; mine += 2) {
      for (auto seen = word.load(); seen >> 32 != mine; seen = word.load()) {
        word.fetch_add(1);
        doorbell::base::futex_wait_high(word, seen);
      }
      word.fetch_add(1ULL << 32);
      doorbell::base::futex_wake_one_high(&word);
    }
  });
  EXPECT_EQ(word.load() >> 32, turns);
}

// Oracle: one wake ends the wait of one of two threads that sleep on a word; that wait returns woken, whatever errno
// was.
TEST(futex, one_wake_ends_one_wait) {
  const atomic<std::uint32_t> word{0};
  const atomic<std::uint64_t> wide{0};
  const auto expect_one_after_the_other = [](auto wait, auto wake) {
    std::atomic<int> ended{0};
    std::array<sleeper, 2> waiters;
    std::jthread others{[&] {
      run_together(waiters.size(), [&](std::size_t index) {
        errno = index == 0 ? ETIMEDOUT : EINTR;
        waiters.at(index).here();
        wait();
        ++ended;
      });
    }};
    for (const auto& each : waiters) EXPECT_TRUE(each.wait_until_asleep());
    wake();
    EXPECT_TRUE(eventually([&] { return ended == 1; }));
    EXPECT_TRUE(eventually([&] { return waiters[0].wait_until_asleep() || waiters[1].wait_until_asleep(); }));
    EXPECT_EQ(ended, 1);
    wake();
  };
  expect_one_after_the_other([&] { EXPECT_EQ(futex_wait(word, 0), futex_result::woken); },
                             [&] { futex_wake_one(&word); });
  expect_one_after_the_other([&] { doorbell::base::futex_wait_high(wide, 0); },
                             [&] { doorbell::base::futex_wake_one_high(&wide); });
}

std::atomic<int> handled{0};

/// Handles SIGUSR1, with `flags`, for as long as it lives.
class counting_handler {
 public:
  explicit counting_handler(int flags) {
    handled = 0;
    struct sigaction action{};
    action.sa_handler = [](int) { ++handled; };
    action.sa_flags = flags;
    ::sigaction(SIGUSR1, &action, &before_);
  }
  ~counting_handler() { ::sigaction(SIGUSR1, &before_, nullptr); }
  counting_handler(const counting_handler&) = delete;
  counting_handler& operator=(const counting_handler&) = delete;

 private:
  struct sigaction before_{};
};

/// Waits in a new thread for a word that no thread changes, and signals the new thread until its wait has ended.
futex_result wait_under_signals(deadline until) {
  const atomic<std::uint32_t> word{0};
  std::atomic<bool> ended{false};
  auto result = futex_result::woken;
  std::jthread waiting{[&] {
    result = futex_wait(word, 0, until);
    ended = true;
  }};
  while (!ended) {
    ::pthread_kill(waiting.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  waiting.join();
  return result;
}

TEST(futex, a_handler_without_restart_interrupts_a_wait) {
  const counting_handler handler{0};
  EXPECT_EQ(wait_under_signals({}), futex_result::interrupted);
}

TEST(futex, any_handler_interrupts_a_wait_with_a_deadline) {
  const counting_handler handler{SA_RESTART};
  EXPECT_EQ(wait_under_signals(steady_clock::now() + 1h), futex_result::interrupted);
}

// Oracle: the handler has run, and the wait still ended by the wake. The test does not require that the handler ran
// during the wait, because ThreadSanitizer defers handlers until the thread calls a function that it intercepts.
TEST(futex, a_handler_with_restart_does_not_interrupt_a_wait_without_a_deadline) {
  const counting_handler handler{SA_RESTART};
  atomic<std::uint32_t> word{0};
  sleeper waiter;
  std::jthread waiting{[&] {
    waiter.here();
    while (word.load() == 0) EXPECT_EQ(futex_wait(word, 0), futex_result::woken);
  }};
  EXPECT_TRUE(waiter.wait_until_asleep());
  ::pthread_kill(waiting.native_handle(), SIGUSR1);
  EXPECT_TRUE(waiter.wait_until_asleep());
  word = 1;
  futex_wake_one(&word);
  waiting.join();
  EXPECT_EQ(handled, 1);
}

}  // namespace
