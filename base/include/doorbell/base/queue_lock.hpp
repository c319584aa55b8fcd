// SPDX-License-Identifier: Apache-2.0
//
// queue_lock: the wait queue's lock, and in the same word the one bit that a signaller without business must see:
// whether anybody is on the queue.
//
// Why not a std::mutex: a signaller that finds nobody waiting must know so from one load, and a waiter must be visible
// *before* it reads the counter. With the bit in the lock's own word, taking the lock is what makes the waiter visible:
// no further read-modify-write. (It is also 4 bytes, not 40, of every eventfd.)
//
// The handshake, both columns seq_cst operations:
//
//   waiter                               signaller
//   lock(): word 0 -> locked             count += n
//   link the entry                       idle(): word == 0 ?
//   read count
//   unlock(populated)
//
//   legal:     the waiter reads the new count, or the signaller sees a word that is not 0 and comes in to walk.
//   forbidden: the waiter reads the old count and the signaller sees 0. The waiter's RMW on word comes before its read
//              of count, the signaller's RMW on count before its read of word; in one total order both cannot read old
//              values.
//
// Memory ordering otherwise: lock() acquires what the last unlock() released.
// Lifetime: unlock() does not touch the word after the exchange that frees it, but for the address handed to
// futex_wake_one(); see there.
#pragma once

#include <cstdint>

#include <absl/base/optimization.h>
#include <absl/base/thread_annotations.h>

#include <doorbell/base/atomic.hpp>

namespace doorbell::base {

class ABSL_LOCKABLE queue_lock {
 public:
  queue_lock() noexcept = default;
  queue_lock(const queue_lock&) = delete;
  queue_lock& operator=(const queue_lock&) = delete;

  /// Whether the lock is free and nobody is on the queue: the signaller's half of the handshake. Never blocks.
  [[nodiscard]] bool idle() const noexcept { return word_.load(memory_order_seq_cst) == 0; }

  /// Takes the lock; may sleep. Not recursive.
  void lock() noexcept ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    std::uint32_t seen = word_.load(memory_order_relaxed) & populated_bit;
    if (!word_.compare_exchange_strong(seen, seen | locked_bit, memory_order_seq_cst)) [[unlikely]]
      lock_contended();
  }

  /// Gives the lock back and says whether the queue now has entries.
  void unlock(bool populated) noexcept ABSL_UNLOCK_FUNCTION() {
    // Release pairs with the compare-exchange in lock() and the fetch_or in lock_contended().
    const auto* address = &word_;
    if (word_.exchange(populated ? populated_bit : 0, memory_order_release) & contended_bit) [[unlikely]]
      wake_next(address);
  }

 private:
  static constexpr std::uint32_t locked_bit = 1;
  static constexpr std::uint32_t contended_bit = 2;  // somebody may be asleep on the word
  static constexpr std::uint32_t populated_bit = 4;

  void lock_contended() noexcept;
  static void wake_next(const atomic<std::uint32_t>* address) noexcept;

  atomic<std::uint32_t> word_{0};
};

}  // namespace doorbell::base
