// SPDX-License-Identifier: Apache-2.0
//
// sleep_record: a record of a thread that sleeps in a call on a context. With it, another thread can end a sleep that
// the sleeping thread will never end itself: a signal handler may leave the call by siglongjmp(3), or may destroy the
// context that the interrupted call waits for. The record holds everything that the sleeping thread has on the context:
// its reference as a user, its role as leader or follower, its entry on the list of masked sleepers. None of this is on
// the thread's stack.
//
//   sleeper                              destroy()
//   word = context | sleeping            dead_; kills the users; wakes sleepers
//   sleeps                               waits for the users for a while
//   word: sleeping -> 0 ?                word: sleeping -> taken ?
//
//   legal:     one of the two exchanges succeeds, and that thread drops the sleeper's reference. If it is destroy(),
//              the sleeper, if it ever wakes, returns without access to the context.
//   forbidden: both succeed, or neither.
//
// A sleeper whose record was taken may still be inside the engine's wait(). Therefore the memory of the context stays
// until the record is free again: when the sleeper has woken, or is known never to wake, because its thread has ended
// or has made a call whose frame is not below the sleeper's on the same stack, so that the sleeper's frame has been
// left (see is_abandoned).
//
// Thread safety: a record belongs to its thread, except for its word. Records are not freed; those of an ended thread
// are reused. Without memory for a record, a thread sleeps without one.
// Memory ordering: stores to the word release the contents of the record; exchanges of the word acquire them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include <doorbell/base/atomic.hpp>

#include "masked_sleeper.hpp"

namespace doorbell::aio {

class kioctx;

class sleep_record {
 public:
  /// The role of the thread on the context, which it holds besides its reference as a user.
  enum class role : std::uint8_t {
    nothing,
    leader,   ///< holds the engine's begin_wait()
    follower  ///< counted in followers_
  };

  /// A free record of this thread. Null if there is no memory.
  [[nodiscard]] static sleep_record* get() noexcept;

  /// @return whether this thread has records in use: of calls that a signal handler has interrupted, or left by a jump.
  [[nodiscard]] static bool has_any() noexcept { return in_use_ != 0; }
  /// @return whether this thread has a record of a leader of `ctx`.
  [[nodiscard]] static bool is_led_by_this_thread(const kioctx& ctx) noexcept;

  /// Ends the sleeps that this thread has left by siglongjmp(3).
  /// @param frame of a call that the thread makes now (__builtin_frame_address).
  static void end_abandoned(const void* frame) noexcept;

  /// For destroy(): takes the records of sleepers on `ctx`. take_own() takes those of this thread, take_all() those of
  /// all threads.
  static void take_own(kioctx& ctx) noexcept;
  static void take_all(kioctx& ctx) noexcept;
  /// How long destroy() waits for sleepers to wake by themselves before it calls take_all(). None: for ever.
  [[nodiscard]] static std::optional<std::chrono::milliseconds> patience() noexcept;

  /// For a child process, which has one thread: forgets the records in use. Calls that the thread is in keep using
  /// theirs.
  static void forget_all() noexcept;
#ifdef DOORBELL_MODEL
  /// Called when a scenario has ended, whose threads used the records.
  static void free_all() noexcept;
#endif

  sleep_record(const sleep_record&) = delete;
  sleep_record& operator=(const sleep_record&) = delete;

  /// From now on the thread sleeps on `ctx`.
  void begin(kioctx& ctx, role what) noexcept;
  /// @return false if the record was taken; then the thread must not access the context any more.
  [[nodiscard]] bool end() noexcept;

  /// For a thread that waits with a signal mask; in use from before begin() until after end().
  std::optional<masked_sleeper>& masked() noexcept { return masked_; }
  [[nodiscard]] role what() const noexcept { return what_; }

 private:
  struct owner;

  static constexpr std::uintptr_t sleeping = 1;
  static constexpr std::uintptr_t being_taken = 2;  // destroy() still uses the record
  static constexpr std::uintptr_t taken = 3;
  static constexpr std::uintptr_t states = 3;

  sleep_record() = default;

  [[nodiscard]] static sleep_record* make() noexcept;
  [[nodiscard]] static sleep_record* of_ended_thread() noexcept;
  void take(kioctx& ctx) noexcept;
  [[nodiscard]] bool is_abandoned(const void* frame) const noexcept;
  void end_for_ever() noexcept;

  static thread_local constinit unsigned in_use_ __attribute__((tls_model("initial-exec")));
  static thread_local constinit sleep_record* mine_ __attribute__((tls_model("initial-exec")));

  base::atomic<std::uintptr_t> word_{0};  // 0: free; else the context's address and the state
  base::atomic<bool> is_owned_{true};     // false: its thread has ended
  sleep_record* next_ = nullptr;          // list of all records; constant once the record is on the list
  sleep_record* next_of_thread_ = nullptr;
  const void* frame_ = nullptr;
  role what_ = role::nothing;
  std::optional<masked_sleeper> masked_;
};

}  // namespace doorbell::aio
