// SPDX-License-Identifier: Apache-2.0
//
// Races, run repeatedly: limited in rounds and in time, both scaled by DOORBELL_STRESS_SCALE (1 if unset). A result
// never depends on the number of rounds.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <random>
#include <thread>

#include "support/interruptions.hpp"
#include "support/threads.hpp"
#include "support/watchdog.hpp"

namespace doorbell::test {

[[nodiscard]] inline double stress_scale() {
  const char* const scale = std::getenv("DOORBELL_STRESS_SCALE");
  return scale != nullptr ? std::max(std::atof(scale), 0.01) : 1.0;
}

/// A count of rounds or of similar work, scaled.
[[nodiscard]] inline std::size_t scaled(std::size_t count) {
  return std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(count) * stress_scale()));
}

/// A number of rounds. No round begins after `time` has passed, or after a failure.
class budget {
 public:
  explicit budget(std::size_t rounds, std::chrono::duration<double> time = std::chrono::milliseconds{1500})
      : left_{scaled(rounds)},
        until_{clock::now() + std::chrono::duration_cast<clock::duration>(time * stress_scale())} {}

  [[nodiscard]] bool next() { return left_-- > 0 && clock::now() < until_ && !::testing::Test::HasFailure(); }

 private:
  using clock = std::chrono::steady_clock;
  std::size_t left_;
  clock::time_point until_;
};

/// A barrier at which threads spin: all continue at nearly the same time, which woken threads would not.
class meeting {
 public:
  explicit meeting(std::size_t threads) noexcept : threads_{threads} {}

  void arrive_and_wait() noexcept {
    const auto round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    while (round_.load(std::memory_order_acquire) == round) std::this_thread::yield();
  }

 private:
  const std::size_t threads_;
  std::atomic<std::size_t> arrived_{0};
  std::atomic<std::size_t> round_{0};
};

/// Delays the thread by a few nanoseconds up to a microsecond, so that races do not always have the same timing.
/// Sometimes yields.
class stagger {
 public:
  explicit stagger(std::size_t seed) : random_{static_cast<std::minstd_rand::result_type>(seed + 1)} {}
  void operator()() {
    if (below(4) == 0) std::this_thread::yield();
    for (auto i = random_() % 128; i > 0; --i) passed_.store(i, std::memory_order_relaxed);
  }
  /// A number below `limit`.
  [[nodiscard]] std::size_t below(std::size_t limit) { return random_() % limit; }

 private:
  std::minstd_rand random_;
  std::atomic<std::minstd_rand::result_type> passed_{0};
};

/// run_together(), with threads that a signal handler interrupts from time to time. The signals also interrupt timed
/// calls.
template <class Body>
void run_disturbed(std::size_t threads, Body body) {
  const watchdog dog;
  run_together(threads, [&](std::size_t index) {
    const interruptions anywhere;
    body(index);
  });
}

/// Each round calls `prepare()` in one thread, `body(index)` concurrently in each of the threads that `run` runs, and
/// `check()` in one thread. For code that needs a preparation for each race: the threads wait for each other most of
/// the time.
template <class Run, class Prepare, class Body, class Check>
void race_in(Run run, std::size_t threads, budget rounds, Prepare prepare, Body body, Check check) {
  meeting start{threads};
  meeting end{threads};
  bool more = true;
  run(threads, [&](std::size_t index) {
    stagger pass_some_time{index};
    for (;;) {
      if (index == 0) {
        more = rounds.next();
        if (more) prepare();
      }
      start.arrive_and_wait();
      if (!more) return;
      pass_some_time();
      body(index);
      end.arrive_and_wait();
      if (index == 0) check();
    }
  });
}

/// race_in() with run_disturbed().
template <class Prepare, class Body, class Check>
void race(std::size_t threads, budget rounds, Prepare prepare, Body body, Check check) {
  race_in([](std::size_t count, const auto& each) { run_disturbed(count, each); }, threads, rounds, prepare, body,
          check);
}

/// race_in() without interruptions, for tests of sleeping threads: an interruption would wake a thread whose wakeup was
/// lost.
template <class Prepare, class Body, class Check>
void race_undisturbed(std::size_t threads, budget rounds, Prepare prepare, Body body, Check check) {
  const watchdog dog;
  race_in([](std::size_t count, const auto& each) { run_together(count, each); }, threads, rounds, prepare, body,
          check);
}

}  // namespace doorbell::test
