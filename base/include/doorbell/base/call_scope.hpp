// SPDX-License-Identifier: Apache-2.0
//
// call_scope: which call of the library the thread is in, so that a call from a signal handler can be refused before it
// waits for a lock, or for a grace period of RCU, that the interrupted call of the same thread holds up.
//
//   the thread                           a signal handler in the same thread
//   call_scope: inside_ = here()
//   locks; allocates memory              call_scope: inside_ == here() -> refused
//   unlocks
//   ~call_scope: inside_ as before
//                                        call_scope: inside_ != here() -> works
//
//   legal:     the handler is refused while the interrupted call runs, also where it holds no lock just then.
//   forbidden: the handler waits for a lock of the interrupted call, which goes on only when the handler has returned.
//
// A callback runs inside a call, and may make calls itself. So here() is the wait queue whose entries this thread calls
// back, if there is one: in a callback it is not the place at which the outer call was entered.
//
// A call that sleeps without a lock leaves the scope for that time (outside_of_call): a handler that interrupts the sleep
// may make any call. A call that was refused before then must end the sleep before it begins, since the program will
// expect the sleep to be interrupted and will try again only after it. Therefore the thread remembers the refusal.
//
// A thread that jumps out of the scope (siglongjmp(3)) may have left locks held. It stays inside: all its later calls are
// refused.
//
// Memory ordering: both sides are the same thread, so only the compiler must keep the order. That is what
// std::atomic_signal_fence is for; it makes no instruction, and ThreadSanitizer has nothing to see.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <atomic>

#include <doorbell/base/wait_queue.hpp>

namespace doorbell::base {

class [[nodiscard]] call_scope {
 public:
  call_scope() noexcept : before_{inside_.load(std::memory_order_relaxed)} {
    const void* const now = here();
    if (before_ == now) [[unlikely]] {
      is_refused_ = true;
      has_refused_.store(true, std::memory_order_relaxed);
      return;
    }
    had_refused_ = has_refused_.load(std::memory_order_relaxed);
    // Before inside_: the refusal of a handler that comes in between would be forgotten.
    has_refused_.store(false, std::memory_order_relaxed);
    inside_.store(now, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~call_scope() {
    if (is_refused_) [[unlikely]]
      return;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    inside_.store(before_, std::memory_order_relaxed);
    has_refused_.store(had_refused_, std::memory_order_relaxed);
  }
  call_scope(const call_scope&) = delete;
  call_scope& operator=(const call_scope&) = delete;

  /// Whether the call may go on. False: it was made in a signal handler that interrupted another one.
  [[nodiscard]] explicit operator bool() const noexcept { return !is_refused_; }

 private:
  friend class outside_of_call;

  static const void* here() noexcept {
    const void* const walked = wait_queue::walked_by_this_thread_or_null();
    return walked != nullptr ? walked : &inside_;
  }

  // Initial-exec: these exist from the start of the thread, so a signal handler can use them.
  static thread_local constinit std::atomic<const void*> inside_ __attribute__((tls_model("initial-exec")));
  static thread_local constinit std::atomic<bool> has_refused_ __attribute__((tls_model("initial-exec")));

  const void* const before_;
  bool had_refused_ = false;  // of the call that the handler has interrupted asleep, which has yet to look
  bool is_refused_ = false;
};

/// A part of a call in which the thread holds no lock, and sleeps.
class [[nodiscard]] outside_of_call {
 public:
  outside_of_call() noexcept : before_{call_scope::inside_.load(std::memory_order_relaxed)} {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    call_scope::inside_.store(nullptr, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~outside_of_call() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    call_scope::inside_.store(before_, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  outside_of_call(const outside_of_call&) = delete;
  outside_of_call& operator=(const outside_of_call&) = delete;

  /// Whether a call was refused since the outermost call of this thread began: it should return instead of sleeping.
  [[nodiscard]] static bool must_return() noexcept { return call_scope::has_refused_.load(std::memory_order_relaxed); }

 private:
  const void* const before_;
};

}  // namespace doorbell::base
