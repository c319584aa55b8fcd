// SPDX-License-Identifier: Apache-2.0
//
// counter_lock: a 64-bit count that is one atomic word while nobody is interested in it, and a count guarded by a lock
// as soon as somebody holds the lock or hangs on the wait queue that it protects. The kernel guards an eventfd's count
// with its wait queue's lock; so do we, but only while there is a queue to speak of.
//
//   word_   free:   |0 0 0|            count            |      anybody may change it by compare-exchange
//           locked: |L c s|        what it was          |      the count is in value_, the holder's to change
//           slow:   |- - S|              0              |      unlocked, but the count is in value_: come in and lock
//
// Whether a signaller must walk the queue and whether its count was added are thus decided by one compare-exchange on
// one word. There is no handshake of two variables, hence no order between them to get wrong:
//
//   legal:     the add comes before lock(): the waiter finds the count. Or after: the signaller finds a flag, waits
//              for the lock, and finds the waiter.
//   forbidden: both (a signal reported twice) and neither (a signal lost). A word has one modification order.
//
// Thread safety: all members, at once. Memory ordering: whoever takes a count, or only sees it, has acquired what each adder
// did before it added; and whoever adds where there was no room has acquired what was done before room was made.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/export.hpp>
#include <doorbell/base/thread_annotations.hpp>

namespace doorbell::base {

class DOORBELL_EXPORT DOORBELL_LOCKABLE counter_lock {
 public:
  enum class take_result { taken, empty, must_lock };

  explicit counter_lock(std::uint64_t count) noexcept : word_{count & count_mask}, value_{count} {
    if (count > count_mask) word_.store(slow_bit, memory_order_relaxed);
  }
  counter_lock(const counter_lock&) = delete;
  counter_lock& operator=(const counter_lock&) = delete;

  /// Adds `n` if that takes neither the lock nor anybody's attention. Never blocks.
  /// @return false: nothing was added; take the lock.
  [[nodiscard]] bool try_add(std::uint64_t n) noexcept {
    auto word = word_.load(memory_order_relaxed);
    do {
      if (word > count_mask || n > count_mask - word) return false;
    } while (!word_.compare_exchange_weak(word, word + n, memory_order_acq_rel, memory_order_relaxed));
    return true;
  }

  /// Takes the whole count, or one of it, if that takes neither the lock nor anybody's attention. Never blocks.
  /// @param[out] taken how much, when the answer is `taken`; else it is left alone.
  [[nodiscard]] take_result try_take(bool one, std::uint64_t& taken) noexcept {
    auto word = word_.load(memory_order_relaxed);
    std::uint64_t rest = 0;
    do {
      if (word > count_mask) return take_result::must_lock;
      if (word == 0) return take_result::empty;
      rest = one ? word - 1 : 0;
    } while (!word_.compare_exchange_weak(word, rest, memory_order_acq_rel, memory_order_relaxed));
    taken = word - rest;
    return take_result::taken;
  }

  /// The count, as it was at some moment during the call. Never blocks. Acquires what was done before it was added.
  // While the word says locked but not slow, the queue was empty when the lock was taken: no callback runs, and the
  // holder has published nothing before it unlocks, so what the word still shows is the count. While it says slow,
  // value_ is the count, up to the unlock that clears the bit, which is later than our load of the word.
  [[nodiscard]] std::uint64_t count() const noexcept {
    const auto word = word_.load(memory_order_acquire);
    return (word & slow_bit) ? value_.load(memory_order_acquire) : word & count_mask;
  }

  /// Takes the lock; may sleep. Not recursive.
  void lock() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION() {
    auto word = word_.load(memory_order_relaxed);
    while (!(word & locked_bit)) {
      // Acquire pairs with the release in unlock(), try_add() and try_take().
      if (word_.compare_exchange_weak(word, word | locked_bit, memory_order_acquire, memory_order_relaxed)) [[likely]] {
        adopt(word);
        return;
      }
    }
    lock_contended();
  }

  /// Gives the lock back. While `watched`, every change of the count comes through the lock.
  void unlock(bool watched) noexcept DOORBELL_UNLOCK_FUNCTION() {
    const auto value = value_.load(memory_order_relaxed);
    const auto next = watched || value > count_mask ? slow_bit : value;
    // By the time of the wake another thread may have taken the lock, given it back and freed *this.
    const auto* word = &word_;
    // Release pairs with the acquire of whoever changes the word next, and in count().
    if (word_.exchange(next, memory_order_release) & contended_bit) [[unlikely]]
      wake_next(word);
  }

  /// The count, and a new one. Lock held.
  [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(memory_order_relaxed); }
  void set_value(std::uint64_t value) noexcept {
    // Release pairs with the acquire in count().
    value_.store(value, memory_order_release);
  }

 private:
  static constexpr std::uint64_t locked_bit = 1ULL << 63;
  static constexpr std::uint64_t contended_bit = 1ULL << 62;  // somebody may be asleep on the word
  static constexpr std::uint64_t slow_bit = 1ULL << 61;
  static constexpr std::uint64_t count_mask = slow_bit - 1;

  /// The first thing under the lock: the count moves from the word to value_, unless it is there already.
  // Release pairs with the acquire in count(), whose word may be one from before, which said slow.
  void adopt(std::uint64_t word) noexcept {
    if (!(word & slow_bit)) value_.store(word & count_mask, memory_order_release);
  }
  void lock_contended() noexcept;
  static void wake_next(const atomic<std::uint64_t>* word) noexcept;

  atomic<std::uint64_t> word_;
  atomic<std::uint64_t> value_;  // written under the lock; read by count() while slow
};

}  // namespace doorbell::base
