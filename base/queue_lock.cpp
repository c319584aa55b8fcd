// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/queue_lock.hpp>

#include <doorbell/base/futex.hpp>

namespace doorbell::base {

// Whoever comes here takes the lock with the contended bit set, since it cannot know whether others still sleep; that
// costs one needless wake at the end of a contended spell, and never misses one.
void queue_lock::lock_contended() noexcept {
  for (;;) {
    const auto before = word_.fetch_or(locked_bit | contended_bit, memory_order_seq_cst);
    if (!(before & locked_bit)) return;
    futex_wait(word_, before | locked_bit | contended_bit);
  }
}

void queue_lock::wake_next(const atomic<std::uint32_t>* address) noexcept { futex_wake_one(address); }

}  // namespace doorbell::base
