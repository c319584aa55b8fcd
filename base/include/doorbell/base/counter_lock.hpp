// SPDX-License-Identifier: Apache-2.0
//
// counter_lock: a 64-bit count and the lock of a wait queue. The count is one atomic word as long as no thread holds
// the lock, the queue is empty and the count fits into 49 bits; otherwise the lock guards it. The kernel always guards
// an eventfd's count with its wait queue's lock; doorbell needs the lock only while the queue has entries.
//
//   word_   free:   |0 0 0|     0      |      count       |  any thread may change it by compare-exchange
//           locked: |L c s| generation | count at lock()  |  the count is in value_; only the holder changes it
//           slow:   |0 0 S| generation |        0         |  unlocked, but the count is in value_: lock to change it
//
// One compare-exchange on one word both adds a signaller's count and tells whether the signaller must walk the queue.
// Two variables would need a handshake, and an order between them:
//
//   legal:     the add comes before lock(): the waiter finds the count. Or after it: the signaller finds a flag, waits
//              for the lock, and finds the waiter.
//   forbidden: both (a signal reported twice) and neither (a signal lost). A word has one modification order.
//
// A child of fork(2) has none of its parent's other threads. While the word is locked or slow, it names the process
// (process_generation.hpp) that locked it last, so the child recognizes
//   - a lock that is held by a thread of the parent: the child takes it over. If the word is not slow, the count is the
//     one in the word, and the holder's change of it is dropped; otherwise it is value_, changed or not;
//   - a queue that it has inherited, which may hold entries of such threads: the lock() that changes the generation
//     returns true, once, before any thread of the child walks the queue.
// The word has only the lowest 12 bits of the process generation: lock() returns false in a child that is exactly 4096
// generations younger than the process that locked last.
//
// Thread safety: all members may be called concurrently. Memory ordering: a thread that takes or reads a count acquires
// what each adder did before its add. A thread that adds after a take has made room acquires what was done before the
// take.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/export.hpp>
#include <doorbell/base/process_generation.hpp>
#include <doorbell/base/thread_annotations.hpp>

namespace doorbell::base {

class DOORBELL_EXPORT DOORBELL_LOCKABLE counter_lock {
 public:
  enum class take_result { taken, empty, must_lock };

  explicit counter_lock(std::uint64_t count) noexcept : word_{count & count_mask}, value_{count} {
    if (count > count_mask) word_.store(slow_bit | generation_now(), memory_order_relaxed);
  }
  counter_lock(const counter_lock&) = delete;
  counter_lock& operator=(const counter_lock&) = delete;

  /// Adds `n` if the word is free and the sum fits into it. Never blocks.
  /// @return false: nothing was added; take the lock.
  [[nodiscard]] bool try_add(std::uint64_t n) noexcept {
    auto word = word_.load(memory_order_relaxed);
    do {
      if (word > count_mask || n > count_mask - word) return false;
    } while (!word_.compare_exchange_weak(word, word + n, memory_order_acq_rel, memory_order_relaxed));
    return true;
  }

  /// Takes the whole count, or 1 of it, if the word is free. Never blocks.
  /// @param[out] taken the amount, if the result is `taken`; otherwise unchanged.
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

  /// The count at some moment during the call. Never blocks. Acquires what was done before the count was added.
  // While the word is locked but not slow, the queue was empty when the lock was taken: no callback runs, and the
  // holder publishes nothing before it unlocks, so the count in the word is still current. While the word is slow,
  // value_ is the count. Word and value_ cannot be read together, so the word is read again:
  //
  //   count()                              others
  //   reads the word: slow
  //                                        unlock: 0, not slow; 5 is added in the word
  //                                        lock: value_ = 5; value_ = 0, to be published by unlock
  //   reads value_: 0
  //   reads the word: not slow, 5
  //
  //   legal:     5, the count until the unlock.
  //   forbidden: 0. The same thread could then read 5 in the word, although nothing is added any more.
  //
  // Two reads are enough. A holder that found the word not slow stores value_ with release after its lock, so a thread
  // that acquires this value_ finds the word locked and not slow, or as the holder's unlock or a later operation has
  // left it. If the second word is slow, value_ was the count at a moment after the first read: while the word was
  // slow, at the unlock that cleared the bit, or under a lock that has been released since.
  [[nodiscard]] std::uint64_t count() const noexcept {
    if (const auto word = word_.load(memory_order_acquire); !(word & slow_bit)) return word & count_mask;
    const auto value = value_.load(memory_order_acquire);
    const auto word = word_.load(memory_order_acquire);
    return (word & slow_bit) ? value : word & count_mask;
  }

  /// Takes the lock; may sleep. Not recursive.
  /// @return true if the word was locked or slow, and an ancestor of this process locked it last: the queue may hold
  /// entries of threads that do not exist here. Only the first lock() in a process may return true.
  bool lock() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION() {
    const auto now = generation_now();
    auto word = word_.load(memory_order_relaxed);
    while (!is_held(word, now)) {
      // Acquire pairs with the release in unlock(), try_add() and try_take().
      if (word_.compare_exchange_weak(word, locked(word, now), memory_order_acquire, memory_order_relaxed)) [[likely]] {
        adopt(word);
        return is_inherited(word, now);
      }
    }
    return lock_contended();
  }

  /// Releases the lock.
  /// @param watched whether the queue has entries: every change of the count then needs the lock.
  void unlock(bool watched) noexcept DOORBELL_UNLOCK_FUNCTION() {
    const auto value = value_.load(memory_order_relaxed);
    // The generation in the word, not the current one: if this thread has forked since lock(), the child has not yet
    // called begin_in_child() for its queue, and its next lock() must return true.
    const auto generation = word_.load(memory_order_relaxed) & generation_mask;
    const auto next = watched || value > count_mask ? slow_bit | generation : value;
    // By the time of the wake another thread may have locked, unlocked and freed *this.
    const auto* word = &word_;
    // Release pairs with the acquire in the operation that changes the word next, and in count().
    if (word_.exchange(next, memory_order_release) & contended_bit) [[unlikely]]
      wake_next(word);
  }

  /// For a thread that has forked while it holds the lock: the lock is held in the child from now on, as after a lock()
  /// there that returned true.
  void keep_in_child() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    const auto word = word_.load(memory_order_relaxed);
    word_.store(locked(word, generation_now()), memory_order_relaxed);
  }

  /// The count, and its change. Lock held.
  [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(memory_order_relaxed); }
  void set_value(std::uint64_t value) noexcept {
    // Release pairs with the acquire in count().
    value_.store(value, memory_order_release);
  }

 private:
  static constexpr std::uint64_t locked_bit = 1ULL << 63;
  static constexpr std::uint64_t contended_bit = 1ULL << 62;  // a thread may be asleep on the word
  static constexpr std::uint64_t slow_bit = 1ULL << 61;
  static constexpr unsigned count_bits = 49;
  static constexpr std::uint64_t count_mask = (1ULL << count_bits) - 1;
  static constexpr std::uint64_t generation_mask = (slow_bit - 1) & ~count_mask;

  [[nodiscard]] static std::uint64_t generation_now() noexcept {
    return std::uint64_t{process_generation()} << count_bits & generation_mask;
  }
  /// Whether a thread of the process of generation `now` holds the lock.
  [[nodiscard]] static bool is_held(std::uint64_t word, std::uint64_t now) noexcept {
    return (word & locked_bit) && (word & generation_mask) == now;
  }
  /// Whether an ancestor of that process locked the word last.
  [[nodiscard]] static bool is_inherited(std::uint64_t word, std::uint64_t now) noexcept {
    return (word & (locked_bit | slow_bit)) && (word & generation_mask) != now;
  }
  /// The word after that process has locked it. Threads of an ancestor that sleep on the word need no wakeup.
  [[nodiscard]] static std::uint64_t locked(std::uint64_t word, std::uint64_t now) noexcept {
    return locked_bit | now | (word & (slow_bit | count_mask));
  }

  /// The first step under the lock: the count moves from the word to value_, unless it is there already.
  // Release pairs with the acquire in count(), whose first word may be older, and slow.
  void adopt(std::uint64_t word) noexcept {
    if (!(word & slow_bit)) value_.store(word & count_mask, memory_order_release);
  }
  bool lock_contended() noexcept;
  static void wake_next(const atomic<std::uint64_t>* word) noexcept;
  bool lock_asleep() noexcept;

  atomic<std::uint64_t> word_;
  atomic<std::uint64_t> value_;  // written under the lock; read by count() while slow
};

}  // namespace doorbell::base
