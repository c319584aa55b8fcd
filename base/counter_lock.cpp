// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/counter_lock.hpp>

#include <doorbell/base/futex.hpp>

#include "spin_wait.hpp"

namespace doorbell::base {

// A thread spins for a while before it sleeps. A walk may wake a thread whose first step is to lock, such as a reader
// in an epoll loop with poll_fd(). If that thread slept on the lock each time, a signal and its read would take 17
// times as long as those of a kernel eventfd.
bool counter_lock::lock_contended() noexcept {
  for (int looks = spin_wait::looks(); looks > 0; --looks) {
    const auto now = generation_now();
    auto word = word_.load(memory_order_relaxed);
    // Acquire as in lock().
    if (!is_held(word, now) &&
        word_.compare_exchange_weak(word, locked(word, now), memory_order_acquire, memory_order_relaxed)) {
      spin_wait::ended(true);
      adopt(word);
      return is_inherited(word, now);
    }
    spin_wait::relax();
  }
  spin_wait::ended(false);
  return lock_asleep();
}

// Locks with the contended bit set, since the thread cannot know whether others still sleep: one needless wakeup at the
// end of a contended period, and never a missed one. The generation is read again in each round: a signal handler that
// interrupts the sleep may fork, and the child continues here.
bool counter_lock::lock_asleep() noexcept {
  auto word = word_.load(memory_order_relaxed);
  for (;;) {
    const auto now = generation_now();
    const bool held = is_held(word, now);
    const auto next = (held ? word : locked(word, now)) | contended_bit;
    if (!word_.compare_exchange_weak(word, next, memory_order_acquire, memory_order_relaxed)) continue;
    if (!held) {
      adopt(word);
      return is_inherited(word, now);
    }
    futex_wait_high(word_, next);
    // equivalent fault (assignment): the compare-exchange that fails loads the word
    word = word_.load(memory_order_relaxed);
  }
}

void counter_lock::wake_next(const atomic<std::uint64_t>* word) noexcept { futex_wake_one_high(word); }

}  // namespace doorbell::base
