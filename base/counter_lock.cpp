// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/counter_lock.hpp>

#include <doorbell/base/futex.hpp>

namespace doorbell::base {

// A thread that comes here locks with the contended bit set, since it cannot know whether others still sleep: one
// needless wake at the end of a contended spell, and never a missed one. The generation is read anew each time round: a
// signal handler that interrupts the sleep may fork, and the child goes on here.
bool counter_lock::lock_contended() noexcept {
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
    word = word_.load(memory_order_relaxed);
  }
}

void counter_lock::wake_next(const atomic<std::uint64_t>* word) noexcept { futex_wake_one_high(word); }

}  // namespace doorbell::base
