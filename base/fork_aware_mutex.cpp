// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/fork_aware_mutex.hpp>

namespace doorbell::base {

// Locks with the waiters bit set, since the thread cannot know whether others still sleep: one needless wakeup at the
// end of a contended period, and never a missed one. The generation is read again in each round: a signal handler that
// interrupts the sleep may fork, and the child continues here.
bool fork_aware_mutex::lock_contended() noexcept {
  auto word = word_.load(memory_order_relaxed);
  for (;;) {
    const auto now = held_now();
    const bool held = is_held(word, now);
    const auto next = now | waiters_bit;
    // Acquire pairs with the release in unlock().
    if (!word_.compare_exchange_weak(word, next, memory_order_acquire, memory_order_relaxed)) continue;
    if (!held) return word != 0;
    futex_wait(word_, next);
    // equivalent fault (assignment): the compare-exchange that fails loads the word
    word = word_.load(memory_order_relaxed);
  }
}

}  // namespace doorbell::base
