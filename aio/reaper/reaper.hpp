// SPDX-License-Identifier: Apache-2.0
//
// reaper: one thread per process. It completes requests that signal an eventfd and that no thread waits for otherwise,
// fills the rings of programs that only read the ring, and adds counts that did not fit to the program's kernel
// eventfds. The thread is started when it is first needed, sleeps while there is nothing to do, and runs until the
// process ends.
//
//   reaper                               destroy
//   lock; finds the context              users.kill(); waits for users
//   tryget_live(); unlock                forget(): lock; off the table; unlock
//   reaps; put()                         goes on with the destruction
//
//   legal:     tryget_live before kill: destroy waits for the put. After kill: it fails; the memory is still valid,
//              since forget() needs the lock.
//   forbidden: a context accessed after forget(), or watched after it. Only users call watch(), and no user is left.
//
// The program may close the descriptor of the epoll. The reaper's thread cannot notice that while it sleeps, so it
// sleeps for at most a second. It does not make another epoll itself: a library thread that opened and closed
// descriptors at any time would take numbers that the program expects to get, and could close a file that the program
// has opened at the number of a library descriptor. The next call of the program that starts a request makes the epoll;
// until then the reaper looks at the contexts every few milliseconds while they have requests.
//
//   reaper                               a call of the program
//   needs_epoll_ = 1                     in_flight_ > 0
//   in_flight_ ? -> looks again soon     needs_epoll_ ? -> restore_epoll()
//
//   legal:     the reaper finds the request and looks at the context, or the call makes the epoll.
//   forbidden: neither: the request is completed a second late. All four accesses are seq_cst.
//
// The reaper also looks regularly at contexts that have lost their own descriptor, and at contexts for which the kernel
// signals the program's eventfds (kernel_aio.hpp): so a program that reads the ring itself, without checking the magic
// number, finds its events.
//
// Contexts whose requests signal no eventfd, and whose programs call io_getevents(), have no descriptor in the epoll:
// the reaper only visits them in rounds, once a second. If a round finds that the program only reads the ring
// (kioctx_helper.cpp), the reaper looks at the context every few milliseconds while it has requests. This ends when
// the program next makes a call that starts a request: that call adds the context to the epoll. The reaper does not add
// it itself, because that would open descriptors.
//
// A process ends when its last thread does, and then runs the functions of atexit(3). The library's threads, which
// block all signals, would keep the process alive. So once a second the reaper checks whether only library threads are
// left, and then starts a thread that ends the process.
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

#include "../resfd/resfd.hpp"
#include "reaped_context.hpp"

namespace doorbell::aio {

class reaper {
 public:
  /// The reaper of this process. Never destroyed: its thread may run until the very end.
  static reaper& process() noexcept;

  /// From now on completes the requests of `ctx`. Has no effect if the reaper does so already.
  /// Errors: those of epoll_create1(2), epoll_ctl(2) and pthread_create(3).
  void watch(reaped_context& ctx, std::error_code& ec) noexcept;

  /// From now on visits `ctx` only in rounds, whether or not it was watched before.
  /// Errors: those of watch(), except those of descriptors of `ctx`. After pthread_create(3) has failed, there is no
  /// new attempt for a second.
  void visit_in_rounds(reaped_context& ctx, std::error_code& ec) noexcept;

  /// Never accesses `ctx` again, except if the reaper is inside it now, as a user.
  void forget(reaped_context& ctx) noexcept;

  /// Adds the counts that a kernel eventfd had no room for, as soon as there is room.
  void add_when_there_is_room(const resfd_target_ptr& efd) noexcept;

  /// Whether the program has closed the epoll. Checked in each call that has started a request.
  [[nodiscard]] bool needs_epoll() const noexcept { return needs_epoll_.load(base::memory_order_seq_cst) != 0; }
  /// Makes another epoll. Called in a call of the program, without a lock.
  void restore_epoll() noexcept;

  /// For a fork's child, which has no reaper's thread, and starts one of its own when it needs it.
  void forget_all() noexcept;
  /// For a child whose copy of the state may be half changed: the same, without closing any descriptor.
  void begin_anew() noexcept { new (this) reaper; }
  /// Around a fork, so that the child's copy of the reaper's state is consistent.
  void lock_for_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void unlock_after_fork() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }

 private:
  struct watched {
    reaped_context* ctx;
    std::array<int, 2> descriptors;  // in the epoll; -1: none
    bool is_in_rounds = false;
  };
  using contexts_by_key = std::map<std::uint64_t, watched>;
  using eventfds_by_key = std::map<std::uint64_t, resfd_target_ptr>;

  reaper() = default;

  void start_locked(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void start_if_due_locked(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool find_full_locked(const resfd_target_ptr& efd) const noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] resfd_target_ptr full(std::uint64_t key) noexcept;
  void add_what_fits(std::uint64_t key, const resfd_target_ptr& efd) noexcept;
  [[nodiscard]] reaped_context_user enter(std::uint64_t key) noexcept;
  [[nodiscard]] contexts_by_key::iterator find_locked(const reaped_context& ctx) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] contexts_by_key::iterator add_locked(reaped_context& ctx, std::error_code& ec) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool add_to_epoll_locked(std::uint64_t key, const watched& entry) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void take_off_epoll_locked(const watched& entry) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] int epoll() noexcept;
  [[nodiscard]] int wait_for_epoll() noexcept;
  void restore_epoll_locked(eventfds_by_key& lost) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  template <class Which, class What>
  bool visit(Which which, What what) noexcept;
  template <class Which>
  [[nodiscard]] bool look_at(Which which) noexcept;
  [[nodiscard]] bool make_round_if_due(bool has_slept_through) noexcept;
  [[nodiscard]] bool poll_unnotified() noexcept;
  [[nodiscard]] bool look_at_full() noexcept;
  static void end_process_without_threads() noexcept;
  [[noreturn]] void run() noexcept;

  base::mutex lock_;  // taken under a context's reaper_work_lock_; under it: an engine's locks (docs/architecture.md)
  base::private_fd epoll_ DOORBELL_GUARDED_BY(lock_);
  bool has_thread_ DOORBELL_GUARDED_BY(lock_) = false;  // true even while there is no epoll
  std::uint64_t last_key_ DOORBELL_GUARDED_BY(lock_) = 0;
  std::chrono::steady_clock::time_point next_start_ DOORBELL_GUARDED_BY(lock_);  // earliest next thread start
  contexts_by_key contexts_ DOORBELL_GUARDED_BY(lock_);
  eventfds_by_key full_ DOORBELL_GUARDED_BY(lock_);
  base::atomic<std::uint32_t> needs_epoll_{0};
  base::atomic<bool> has_rounds_{false};              // stored under lock_: some contexts may be visited in rounds
  std::chrono::steady_clock::time_point next_round_;  // used by the reaper's thread only
};

}  // namespace doorbell::aio
