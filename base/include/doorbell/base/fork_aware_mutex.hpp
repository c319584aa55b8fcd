// SPDX-License-Identifier: Apache-2.0
//
// fork_aware_mutex: a mutex of one 32-bit word that a child of fork(2) can lock although another thread of the parent
// held it at the fork. The child does not have the other thread. A word with an older generation
// (process_generation.hpp) therefore means that the mutex is free, and the child takes it over.
//
//   word_   free: 0      held: | h w |  generation  |      w: a thread may be asleep on the word
//
// The guarded state may be half changed when the mutex is taken over; lock() returns true then. A thread that forks
// while it holds the mutex (in a signal handler that interrupted it) still unlocks it in the child; until then other
// threads of the child may take it over.
//
// Thread safety: all members may be called concurrently. Lifetime: the next holder may free the mutex while the
// previous one is still in unlock(). Memory ordering: as any mutex.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cstdint>
#include <tuple>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/export.hpp>
#include <doorbell/base/futex.hpp>
#include <doorbell/base/process_generation.hpp>
#include <doorbell/base/thread_annotations.hpp>

namespace doorbell::base {

class DOORBELL_EXPORT DOORBELL_LOCKABLE fork_aware_mutex {
 public:
  constexpr fork_aware_mutex() noexcept = default;
  fork_aware_mutex(const fork_aware_mutex&) = delete;
  fork_aware_mutex& operator=(const fork_aware_mutex&) = delete;

  /// May sleep. Not recursive.
  /// @return whether it was taken over from a thread that exists only in the parent.
  bool lock() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION() {
    std::uint32_t word = 0;
    // Acquire pairs with the release in unlock().
    // equivalent fault (dropped): lock_contended() locks a free mutex, too
    if (word_.compare_exchange_strong(word, held_now(), memory_order_acquire, memory_order_relaxed)) [[likely]]
      return false;
    return lock_contended();
  }

  /// Never sleeps.
  /// @return whether this thread has locked it, possibly by taking it over.
  [[nodiscard]] bool try_lock() noexcept DOORBELL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    const auto next = held_now();
    auto word = word_.load(memory_order_relaxed);
    do {
      if (is_held(word, next)) return false;
      // Acquire pairs with the release in unlock().
    } while (!word_.compare_exchange_weak(word, next, memory_order_acquire, memory_order_relaxed));
    return true;
  }

  /// Locks it and never unlocks it, at the end of the life of the guarded state: every later try_lock() fails. May
  /// sleep. It also stays locked in a child that is forked afterwards: no thread there uses the state that was being
  /// destroyed.
  void lock_for_good() noexcept {
    // equivalent fault (dropped): lock_contended() and the store also lock a free mutex for good
    if (try_lock_for_good()) [[likely]]
      return;
    std::ignore = lock_contended();
    word_.store(held_for_good, memory_order_relaxed);
  }

  /// As lock_for_good(), but never sleeps.
  /// @return whether this thread has locked it; false also while a thread that exists only in the parent holds it.
  [[nodiscard]] bool try_lock_for_good() noexcept {
    std::uint32_t word = 0;
    // The new value is a constant, so this waits for no load. Acquire pairs with the release in unlock().
    return word_.compare_exchange_strong(word, held_for_good, memory_order_acquire, memory_order_relaxed);
  }

  void unlock() noexcept DOORBELL_UNLOCK_FUNCTION() {
    // By the time of the wake another thread may have locked, unlocked and freed *this.
    const auto* const word = &word_;
    // Release pairs with the acquire of the next holder.
    if (word_.exchange(0, memory_order_release) & waiters_bit) [[unlikely]]
      futex_wake_one(word);
  }

 private:
  static constexpr std::uint32_t held_bit = 1U << 31;
  static constexpr std::uint32_t waiters_bit = 1U << 30;
  static constexpr std::uint32_t generation_mask = waiters_bit - 1;
  static constexpr std::uint32_t held_for_good = held_bit | generation_mask;

  /// The word of a mutex that this process holds, without waiters.
  [[nodiscard]] static std::uint32_t held_now() noexcept { return held_bit | (process_generation() & generation_mask); }
  /// @param now held_now()
  [[nodiscard]] static bool is_held(std::uint32_t word, std::uint32_t now) noexcept {
    return (word & ~waiters_bit) == now || word == held_for_good;
  }

  bool lock_contended() noexcept;

  atomic<std::uint32_t> word_{0};
};

/// Holds a fork_aware_mutex for a scope.
class DOORBELL_SCOPED_LOCKABLE fork_aware_lock {
 public:
  explicit fork_aware_lock(fork_aware_mutex& held) noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(held)
      : held_{held}, was_taken_over_{held.lock()} {}
  ~fork_aware_lock() DOORBELL_UNLOCK_FUNCTION() { held_.unlock(); }
  fork_aware_lock(const fork_aware_lock&) = delete;
  fork_aware_lock& operator=(const fork_aware_lock&) = delete;

  [[nodiscard]] bool was_taken_over() const noexcept { return was_taken_over_; }

 private:
  fork_aware_mutex& held_;
  const bool was_taken_over_;
};

}  // namespace doorbell::base
