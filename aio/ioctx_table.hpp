// SPDX-License-Identifier: Apache-2.0
//
// ioctx_table: the contexts of this process, by handle. Looked up under RCU, without touching the program's memory.
//
//   lookup                               destroy
//   RCU read lock
//   finds the context in its slot        takes it off the table; kills its users (a bit set, once)
//   users.tryget_live()                  waits for users; waits for readers (rcu_synchronize); frees
//   RCU read unlock
//
//   legal:     tryget_live before the kill: destroy waits for the put. After: it fails, a miss; the context is still in
//              memory, as its freeing waits for our read section.
//   forbidden: a context freed between the first two lines of lookup; a count raised from 0 in the second.
//
// An open-addressed array of slots: a reader goes from a handle's place on until an empty one. Slots that become free are
// marked so, not emptied, so that no reader stops short; when they are too many the array is made anew.
//
// Locks: lock_ is for writers. Under it, a ring's lock is taken, when a moved ring is looked for; nothing else.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/rcu.hpp>

namespace doorbell::aio {

class kioctx;

/// Being inside a call on a context: it is live, and destroy() waits for us to leave.
class kioctx_user {
 public:
  kioctx_user() noexcept = default;
  /// Takes over what tryget_live() has given.
  explicit kioctx_user(kioctx* entered) noexcept : ctx_{entered} {}
  kioctx_user(kioctx_user&& other) noexcept : ctx_{std::exchange(other.ctx_, nullptr)} {}
  kioctx_user& operator=(kioctx_user&&) = delete;
  ~kioctx_user() { leave(); }

  void leave() noexcept;
  /// The share as a user was dropped by other means.
  void has_left() noexcept { ctx_ = nullptr; }
  [[nodiscard]] kioctx* operator->() const noexcept { return ctx_; }
  [[nodiscard]] explicit operator bool() const noexcept { return ctx_ != nullptr; }

 private:
  kioctx* ctx_ = nullptr;
};

class ioctx_table {
 public:
  static ioctx_table& process() noexcept;

  /// Publishes a context: from now on it can be looked up, and destroyed. Errors: not_enough_memory.
  void add(kioctx& ctx, std::error_code& ec) noexcept;
  /// It is not found any more, but may be in the hands of readers for a grace period. file_io_left() still sees it.
  void remove(kioctx& ctx) noexcept;
  /// A context that was removed has no more file I/O: file_io_left() does not see it any more.
  void forget(kioctx& ctx) noexcept;

  /// The requests that an ending process waits for.
  struct file_io {
    std::uint64_t requests = 0;  // of all contexts, also of those that are being destroyed
    kioctx* to_reap = nullptr;   // entered: one whose requests go on only if it is reaped; the caller leaves it
  };
  /// Without a lock; also in a signal handler that has interrupted any other member.
  [[nodiscard]] file_io file_io_left(pid_t process, bool may_reap) const noexcept;

  /// The live context at `handle`, entered; or nothing.
  [[nodiscard]] kioctx_user lookup(std::uintptr_t handle) noexcept;

  /// In a fork's child: leaves the parent's contexts behind, having closed their descriptors.
  void forget_all() noexcept;
  /// In a child that found the table as it was, perhaps locked: the same, without closing anything.
  void begin_anew() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS;
  /// Around a fork, so that the child finds the table whole.
  void lock_for_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void unlock_after_fork() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }

 private:
  struct slots;
  using slots_ptr = std::unique_ptr<slots>;

  ioctx_table() = default;

  [[nodiscard]] kioctx_user find(std::uintptr_t handle) const noexcept;
  [[nodiscard]] bool find_moved(std::uintptr_t handle) noexcept;
  [[nodiscard]] slots_ptr make_room(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  base::mutex lock_;
  base::rcu_pointer<slots> slots_;               // written under lock_
  base::atomic<kioctx*> first_ending_{nullptr};  // contexts that are being destroyed: written under lock_
  slots* left_behind_ DOORBELL_GUARDED_BY(lock_) =
      nullptr;  // the parent's: never touched, and not lost to leak checkers
};

}  // namespace doorbell::aio
