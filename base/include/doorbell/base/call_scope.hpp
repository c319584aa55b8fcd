// SPDX-License-Identifier: Apache-2.0
//
// call_scope: whether the thread is inside a call of the library. A call from a signal handler can then be refused
// before it waits for a lock, or for a grace period of RCU, that depends on the interrupted call of the same thread.
//
//   the thread                           a signal handler in the same thread
//   call_scope: inside = true
//   locks; allocates memory              call_scope: inside -> refused
//   unlocks
//   ~call_scope: inside = false
//                                        call_scope: not inside -> works
//
//   legal:     the handler is refused while the interrupted call runs, even when that call holds no lock.
//   forbidden: the handler waits for a lock of the interrupted call, which goes on only when the handler has returned.
//
// A call leaves the scope (outside_of_call) for a callback of the program, which may make calls itself, and while it
// sleeps without a lock: a handler that interrupts the sleep may make any call. If a handler's call was refused before
// the sleep begins, the interrupted call must return instead of sleeping, because the program expects its signal to
// interrupt the sleep, and then repeats the refused call. Therefore the thread remembers the refusal.
//
// A thread that jumps out of the scope (siglongjmp(3)) may have left locks held. It stays inside: all its later calls
// are refused.
//
// Memory ordering: both sides are the same thread, so only the compiler must keep the order. std::atomic_signal_fence
// does this without an instruction, and there is no inter-thread order that ThreadSanitizer would have to see. The
// flags are not atomics of the seam: the model has no signals, and the classes below are empty there.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <atomic>

namespace doorbell::base {

#ifdef DOORBELL_MODEL

// NOLINTBEGIN(modernize-use-equals-default): a user-provided constructor avoids warnings about unused variables
class [[nodiscard]] call_scope {
 public:
  call_scope() noexcept {}
  explicit operator bool() const noexcept { return true; }
};
class [[nodiscard]] inside_of_call {
 public:
  inside_of_call() noexcept {}
  static bool is_now() noexcept { return false; }
};
class [[nodiscard]] outside_of_call {
 public:
  outside_of_call() noexcept {}
};
class [[nodiscard]] refusals_remembered {
 public:
  refusals_remembered() noexcept {}
  void was_refused() noexcept {}
  static bool must_return() noexcept { return false; }
};
// NOLINTEND(modernize-use-equals-default)

#else

namespace seam {

struct call_flags {
  // Initial-exec: they exist from the start of the thread, so a signal handler can use them.
  static thread_local constinit std::atomic<bool> inside __attribute__((tls_model("initial-exec")));
  static thread_local constinit std::atomic<bool> has_refused __attribute__((tls_model("initial-exec")));

  static void set_inside(bool now) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    inside.store(now, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
};

}  // namespace seam

class [[nodiscard]] call_scope {
 public:
  call_scope() noexcept : is_refused_{seam::call_flags::inside.load(std::memory_order_relaxed)} {
    if (is_refused_) [[unlikely]]
      seam::call_flags::has_refused.store(true, std::memory_order_relaxed);
    else
      seam::call_flags::set_inside(true);
  }
  ~call_scope() {
    if (!is_refused_) [[likely]]
      seam::call_flags::set_inside(false);
  }
  call_scope(const call_scope&) = delete;
  call_scope& operator=(const call_scope&) = delete;

  /// Whether the call may go on. False: a signal handler that interrupted another call made this one.
  [[nodiscard]] explicit operator bool() const noexcept { return !is_refused_; }

 private:
  const bool is_refused_;
};

/// Around the call_scope of a call that may sleep: refusals are remembered from here on. It must not be inside the
/// call_scope: the refusal of a handler that runs between the two constructors would be forgotten.
class [[nodiscard]] refusals_remembered {
 public:
  refusals_remembered() noexcept : before_{seam::call_flags::has_refused.load(std::memory_order_relaxed)} {
    seam::call_flags::has_refused.store(false, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  // An earlier refusal that the interrupted call has not yet seen is kept, even if this call was refused itself.
  ~refusals_remembered() {
    if (before_ || !is_refused_) seam::call_flags::has_refused.store(before_, std::memory_order_relaxed);
  }
  refusals_remembered(const refusals_remembered&) = delete;
  refusals_remembered& operator=(const refusals_remembered&) = delete;

  /// Reports that this call itself was refused: the destructor then leaves the refusal for the interrupted call.
  void was_refused() noexcept { is_refused_ = true; }
  /// Whether a call was refused since construction: this call should return instead of sleeping.
  [[nodiscard]] static bool must_return() noexcept {
    return seam::call_flags::has_refused.load(std::memory_order_relaxed);
  }

 private:
  const bool before_;
  bool is_refused_ = false;
};

/// A part of a call, or of a callback, in which calls from a signal handler are refused.
class [[nodiscard]] inside_of_call {
 public:
  inside_of_call() noexcept : before_{seam::call_flags::inside.load(std::memory_order_relaxed)} {
    seam::call_flags::set_inside(true);
  }
  ~inside_of_call() { seam::call_flags::set_inside(before_); }
  inside_of_call(const inside_of_call&) = delete;
  inside_of_call& operator=(const inside_of_call&) = delete;

  /// Whether the thread is inside a call, or in a signal handler that has interrupted a call.
  [[nodiscard]] static bool is_now() noexcept { return seam::call_flags::inside.load(std::memory_order_relaxed); }

 private:
  const bool before_;
};

/// A part of a call in which the program's code runs, or the thread sleeps without a lock. Outside of calls it stores
/// nothing: a store in a callback would delay the atomic operation that unlocks the eventfd after it.
class [[nodiscard]] outside_of_call {
 public:
  outside_of_call() noexcept : was_inside_{seam::call_flags::inside.load(std::memory_order_relaxed)} {
    if (was_inside_) seam::call_flags::set_inside(false);
  }
  ~outside_of_call() {
    if (was_inside_) seam::call_flags::set_inside(true);
  }
  outside_of_call(const outside_of_call&) = delete;
  outside_of_call& operator=(const outside_of_call&) = delete;

 private:
  const bool was_inside_;
};

#endif

}  // namespace doorbell::base
