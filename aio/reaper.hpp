// SPDX-License-Identifier: Apache-2.0
//
// reaper: one thread a process, which completes requests that ring an eventfd and that no thread waits for otherwise,
// fills the rings that the program has only ever looked into, and adds to the program's own eventfds what did not fit.
// Started when it is first needed, asleep while there is nothing to do, and there until the process ends.
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
// sleeps for at most a second. It does not make another epoll: a thread of the library that opened and closed
// descriptors at any time would take numbers that the program expects to get, and could close a file of the program
// that has closed the library's. The next call of the program that starts a request makes it, and until then the reaper
// looks at the contexts every few milliseconds while they have requests.
//
//   reaper                               a call of the program
//   needs_epoll_ = 1                     in_flight_ > 0
//   in_flight_ ? -> looks again soon     needs_epoll_ ? -> restore_epoll()
//
//   legal:     the reaper finds the request and looks at the context, or the call makes the epoll.
//   forbidden: neither, and the request is completed a second late. All four are seq_cst.
//
// Contexts that have lost their own descriptor are looked at, too, and those for which the kernel signals the program's
// eventfds (kernel_aio.hpp): a program that reads the ring itself, without the magic number, finds its events then.
//
// Contexts whose programs call io_getevents() are only visited in rounds, once a second: they have no descriptor in the
// epoll. A context that is found to be only looked into (kioctx_helper.cpp) is then looked at every few milliseconds while
// it has requests, until the next call of the program that starts one has the reaper watch it. The reaper does not begin
// that by itself, because it would open descriptors.
//
// A process ends when its last thread does, and then runs the functions of atexit(3). The library's threads would keep
// it from that, with all signals blocked. So once a second the reaper looks whether they are the only ones left, and
// starts a thread that ends the process.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <new>
#include <system_error>

#include <doorbell/base/atomic.hpp>
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

  /// From now on visits `ctx` only in rounds, whether or not it was watched before.
  /// Errors: as of watch(), except those of descriptors of `ctx`. After pthread_create(3) has failed, there is no new
  /// attempt for a second.
  void visit_in_rounds(kioctx& ctx, std::error_code& ec) noexcept;

  /// Never touches `ctx` again, unless it is inside just now as a user.
  void forget(kioctx& ctx) noexcept;

  /// Adds what a kernel eventfd had no room for, as soon as there is: one thread for that, too, and asleep until then.
  void add_when_there_is_room(const foreign_bell_ptr& bell) noexcept;

  /// Whether the program has closed the epoll. Asked in each call that has started a request.
  [[nodiscard]] bool needs_epoll() const noexcept { return needs_epoll_.load(base::memory_order_seq_cst) != 0; }
  /// Makes another one. In a call of the program, without a lock.
  void restore_epoll() noexcept;

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
    std::array<int, 2> descriptors;  // on the epoll; -1: none
    bool is_in_rounds = false;
  };
  using contexts_by_key = std::map<std::uint64_t, watched>;
  using bells_by_key = std::map<std::uint64_t, foreign_bell_ptr>;

  reaper() = default;

  void start_locked(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void start_if_due_locked(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool find_full_locked(const foreign_bell_ptr& bell) const noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] foreign_bell_ptr full(std::uint64_t key) noexcept;
  void add_what_fits(std::uint64_t key, const foreign_bell_ptr& bell) noexcept;
  [[nodiscard]] kioctx_user enter(std::uint64_t key) noexcept;
  [[nodiscard]] contexts_by_key::iterator find_locked(const kioctx& ctx) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] contexts_by_key::iterator add_locked(kioctx& ctx, std::error_code& ec) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool add_to_epoll_locked(std::uint64_t key, const watched& entry) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void take_off_epoll_locked(const watched& entry) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] int epoll() noexcept;
  [[nodiscard]] int wait_for_epoll() noexcept;
  void restore_epoll_locked(bells_by_key& lost) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  template <class Which, class What>
  bool visit(Which which, What what) noexcept;
  template <class Which>
  [[nodiscard]] bool look_at(Which which) noexcept;
  [[nodiscard]] bool make_round_if_due(bool has_slept_through) noexcept;
  [[nodiscard]] bool look_at_unannounced() noexcept;
  [[nodiscard]] bool look_at_full() noexcept;
  static void end_process_without_threads() noexcept;
  [[noreturn]] void run() noexcept;

  base::mutex lock_;  // taken under a context's helper_lock_; under it: an engine's locks (docs/architecture.md)
  base::private_fd epoll_ DOORBELL_GUARDED_BY(lock_);
  bool has_thread_ DOORBELL_GUARDED_BY(lock_) = false;  // also while there is no epoll
  std::uint64_t last_key_ DOORBELL_GUARDED_BY(lock_) = 0;
  std::chrono::steady_clock::time_point next_start_ DOORBELL_GUARDED_BY(lock_) = {};  // of the thread, for rounds
  contexts_by_key contexts_ DOORBELL_GUARDED_BY(lock_);
  bells_by_key full_ DOORBELL_GUARDED_BY(lock_);
  base::atomic<std::uint32_t> needs_epoll_{0};
  base::atomic<bool> has_rounds_{false};                // stored under lock_: some contexts may be visited in rounds
  std::chrono::steady_clock::time_point next_round_{};  // the reaper's thread's
};

}  // namespace doorbell::aio
