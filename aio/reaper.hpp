// SPDX-License-Identifier: Apache-2.0
//
// reaper: one thread a process, which completes requests that ring an eventfd and that nobody waits for otherwise, fills the
// rings that the program has only ever looked into, and adds to the program's own eventfds what did not fit at once. Started when it is first needed, asleep while there is nothing to
// do, and there until the process ends.
//
//   reaper                               destroy
//   lock; finds the context              users.kill(); waits for users
//   tryget_live(); unlock                forget(): lock; off the table; unlock
//   reaps; put()                         goes on, to its end
//
//   legal:     tryget_live before kill: destroy waits for the put. After: it fails, in memory that is still there, since
//              forget() needs the lock.
//   forbidden: a context touched after forget(), or watched after it: those who may ask for watch() are users, and gone.
//
// The program may close the descriptor of the epoll, which the reaper's thread cannot notice while it sleeps. It therefore
// sleeps for at most a second, and makes a new epoll when it has lost the old one. Contexts whose descriptor is lost, too,
// are looked at every few milliseconds.
#pragma once

#include <cstdint>
#include <map>
#include <new>
#include <system_error>

#include <doorbell/base/mutex.hpp>
#include <doorbell/base/private_fd.hpp>

#include "ioctx_table.hpp"
#include "resfd.hpp"

namespace doorbell::aio {

class reaper {
 public:
  /// The one of this process. Never destroyed: its thread may run until the very end.
  static reaper& process() noexcept;

  /// From now on completes what `ctx` has to complete. Once it does, again is as good as once.
  /// Errors: what epoll_create1(2), epoll_ctl(2) and pthread_create(3) say.
  void watch(kioctx& ctx, std::error_code& ec) noexcept;

  /// Never touches `ctx` again, unless it is inside just now as a user.
  void forget(kioctx& ctx) noexcept;

  /// Adds what a kernel eventfd had no room for, as soon as there is: one thread for that, too, and asleep until then.
  void add_when_there_is_room(const foreign_bell_ptr& bell) noexcept;

  /// In a fork's child, which has no reaper's thread, and starts one of its own when it needs it.
  void forget_all() noexcept;
  /// In a child that found the state as it was, perhaps half changed: the same, without closing anything.
  void begin_anew() noexcept { new (this) reaper; }
  /// Around a fork, so that the child finds the reaper's state whole.
  void lock_for_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void unlock_after_fork() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }

 private:
  struct watched {
    kioctx* ctx;
    int descriptor;  // on the epoll; -1: none
  };

  reaper() = default;

  void start_locked(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool find_full_locked(const foreign_bell_ptr& bell) const noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] foreign_bell_ptr full(std::uint64_t key) noexcept;
  void add_what_fits(std::uint64_t key, const foreign_bell_ptr& bell) noexcept;
  [[nodiscard]] kioctx_user enter(std::uint64_t key) noexcept;
  [[nodiscard]] bool add_to_epoll_locked(std::uint64_t key, watched& entry) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] int epoll() noexcept;
  [[nodiscard]] bool has_lost_epoll() noexcept;
  void restore_epoll() noexcept;
  void look_at_unannounced() noexcept;
  [[noreturn]] void run() noexcept;

  base::mutex lock_;  // outermost in this room: users are entered under it, and nothing else
  // After its start only the reaper's thread changes it, under the lock.
  base::private_fd epoll_ DOORBELL_GUARDED_BY(lock_);
  bool has_thread_ DOORBELL_GUARDED_BY(lock_) = false;  // also while there is no epoll
  std::uint64_t last_key_ DOORBELL_GUARDED_BY(lock_) = 0;
  std::map<std::uint64_t, watched> contexts_ DOORBELL_GUARDED_BY(lock_);
  std::map<std::uint64_t, foreign_bell_ptr> full_ DOORBELL_GUARDED_BY(lock_);
  bool is_looking_ = false;  // the reaper's thread only: there are contexts that no descriptor tells of
};

}  // namespace doorbell::aio
