// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/counter_lock.hpp>

#include <doorbell/base/futex.hpp>

namespace doorbell::base {

// Whoever comes here takes the lock with the contended bit set, since it cannot know whether others still sleep: one
// needless wake at the end of a contended spell, and never a missed one.
void counter_lock::lock_contended() noexcept {
  auto word = word_.load(memory_order_relaxed);
  for (;;) {
    if (!word_.compare_exchange_weak(word, word | locked_bit | contended_bit, memory_order_acquire,
                                     memory_order_relaxed))
      continue;
    if (!(word & locked_bit)) {
      adopt(word);
      return;
    }
    futex_wait_high(word_, word | contended_bit);
    word = word_.load(memory_order_relaxed);
  }
}

void counter_lock::wake_next(const atomic<std::uint64_t>* word) noexcept { futex_wake_one_high(word); }

}  // namespace doorbell::base
