// SPDX-License-Identifier: Apache-2.0
//
// ioctx_table: the contexts of this process, by handle. Lookups run under RCU. A lookup that finds a context does not
// read the program's memory; a lookup that finds none checks whether there is a ring that the program has moved.
//
//   lookup                               destroy
//   RCU read lock
//   finds the context in its slot        removes it from the table; users.kill() (sets a bit)
//   users.tryget_live()                  waits for users; waits for readers (rcu_synchronize); frees
//   RCU read unlock
//
//   legal:     tryget_live() before the kill: destroy waits for the put. After the kill: tryget_live() fails, and the
//              lookup finds nothing; the context is still in memory, because destroy waits for the RCU read section.
//   forbidden: a context is freed before tryget_live(); tryget_live() raises a count from 0.
//
// The table is an open-addressed array of slots: a reader probes from a handle's first place until it finds an empty
// slot. When a context is removed, its slot is marked as freed, not emptied, so that no reader stops too early. When
// the array is crowded, it is rebuilt.
//
// Locks: lock_ is for writers. The lock of a ring is taken under lock_, to find a ring that has moved.
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

/// A thread inside a call on a context: the context is live, and destroy() waits until the user has left.
class kioctx_user {
 public:
  kioctx_user() noexcept = default;
  /// Takes over the reference that tryget_live() has acquired.
  explicit kioctx_user(kioctx* entered) noexcept : ctx_{entered} {}
  kioctx_user(kioctx_user&& other) noexcept : ctx_{std::exchange(other.ctx_, nullptr)} {}
  kioctx_user& operator=(kioctx_user&&) = delete;
  ~kioctx_user() { leave(); }

  void leave() noexcept;
  /// The reference was dropped by other means.
  void has_left() noexcept { ctx_ = nullptr; }
  [[nodiscard]] kioctx* operator->() const noexcept { return ctx_; }
  [[nodiscard]] explicit operator bool() const noexcept { return ctx_ != nullptr; }

 private:
  kioctx* ctx_ = nullptr;
};

class ioctx_table {
 public:
  static ioctx_table& process() noexcept;

  /// Publishes a context: from now on other threads can look it up and destroy it. Errors: not_enough_memory.
  void add(kioctx& ctx, std::error_code& ec) noexcept;
  /// Lookups no longer find the context, but readers may use it for a grace period. file_io_left() still counts it.
  void remove(kioctx& ctx) noexcept;
  /// A removed context has no file I/O any more: file_io_left() no longer counts it.
  void forget(kioctx& ctx) noexcept;

  /// The requests that an ending process waits for.
  struct file_io {
    std::uint64_t requests = 0;  // of all contexts, including those that are being destroyed
    kioctx* to_reap = nullptr;   // entered: its requests go on only if it is reaped; the caller must leave it
  };
  /// Takes no lock. May be called in a signal handler that has interrupted any other member.
  [[nodiscard]] file_io file_io_left(pid_t process, bool may_reap) const noexcept;

  /// The live context with this handle, entered; empty if there is none.
  [[nodiscard]] kioctx_user lookup(std::uintptr_t handle) noexcept;

  /// In a child of fork(2): abandons the parent's contexts, also those that are being destroyed, and closes their
  /// descriptors.
  void forget_all() noexcept;
  /// In a child that has inherited the table in any state, perhaps locked: the same, without closing descriptors.
  void begin_anew() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS;
  /// Around fork(2), so that the table is consistent in the child.
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
      nullptr;  // the parent's: never used, but reachable for leak checkers
};

}  // namespace doorbell::aio
