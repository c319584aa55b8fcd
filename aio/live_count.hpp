// SPDX-License-Identifier: Apache-2.0
//
// live_count: who is inside an object that may be shut at any time. (What keeps the memory is another's business.)
//
//   tryget_live() succeeds until kill(); whoever is in by then stays in until put(); wait_for_none() waits for them.
//
//   legal:     tryget_live before kill: kill's caller waits for its put. After: it fails, and touches nothing.
//   forbidden: a count raised from 0 after kill. Bit and count are one word, changed by compare-exchange.
//
// Memory ordering: put() releases, wait_for_none() acquires.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>

namespace doorbell::aio {

class live_count {
 public:
  [[nodiscard]] bool tryget_live() noexcept {
    auto word = word_.load(base::memory_order_relaxed);
    do {
      if (word & dead_bit) return false;
    } while (!word_.compare_exchange_weak(word, word + 1, base::memory_order_acquire, base::memory_order_relaxed));
    return true;
  }

  void put() noexcept {
    // Once the count is down the object may go: only the address is used after that.
    const auto* const address = &word_;
    if (word_.fetch_sub(1, base::memory_order_release) == (dead_bit | 1)) base::futex_wake_all(address);
  }

  /// @return whether this was the call that did it.
  [[nodiscard]] bool kill() noexcept { return !(word_.fetch_or(dead_bit, base::memory_order_acq_rel) & dead_bit); }
  [[nodiscard]] bool is_dying() const noexcept { return (word_.load(base::memory_order_acquire) & dead_bit) != 0; }

  /// After kill().
  void wait_for_none() noexcept {
    for (auto word = word_.load(base::memory_order_acquire); word != dead_bit;
         word = word_.load(base::memory_order_acquire))
      base::futex_wait(word_, word);
  }

 private:
  static constexpr std::uint32_t dead_bit = 1U << 31;

  base::atomic<std::uint32_t> word_{0};
};

}  // namespace doorbell::aio
