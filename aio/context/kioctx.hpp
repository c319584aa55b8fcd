// SPDX-License-Identifier: Apache-2.0
//
// kioctx: an AIO context, and how it ends.
//
//   users: threads inside a call on the context (users_); requests in flight: in_flight_
//   destroy: dead_ set, by one caller only -> removed from the table -> users killed, sleepers woken, users gone
//            -> reaper has forgotten the context -> requests that wait for a pipe or a peer cancelled -> all requests
//            completed -> grace period -> ring unmapped, engine closed, memory freed
//   The thread that calls destroy() runs all these steps.
//
//   submit                               destroy
//   lookup: a live user
//   starts requests                      users.kill(); waits for users
//   users.put()
//                                        cancels the requests in flight, including the new ones
//
//   forbidden: a request is started after the cancellation. Only a live user starts requests, and none is left by then.
//
// Threads inside a call, the reaper of the process and destroy() reap completions. All except destroy() are users while
// they reap. Therefore a completion is never the last to access a context: destroy() is, or a sleeper whose record
// destroy() has taken (sleep_record.hpp).
//
// Locks: no other lock is acquired while ring_lock_ or masked_lock_ is held. The engine's locks are acquired under
// active_lock_, the reaper's and the engine's under reaper_work_lock_. None of these locks is held while an eventfd's
// lock is acquired, because the eventfd's callbacks may call submit().
#pragma once

#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

#include <doorbell/aio_engine.hpp>
#include <doorbell/base/futex.hpp>
#include <doorbell/base/mutex.hpp>

#include "../engine/engine.hpp"
#include "../io/file_hints.hpp"
#include "../reaper/reaped_context.hpp"
#include "../request/request.hpp"
#include "../request/request_pool.hpp"
#include "../resfd/resfd.hpp"
#include "ioctx_table.hpp"
#include "masked_sleeper.hpp"
#include "ring.hpp"
#include "rundown_ref.hpp"
#include "sleep_record.hpp"

namespace doorbell::aio {

class kioctx final : public reaped_context {
 public:
  /// How long get_events() may wait, and with which signals blocked meanwhile.
  struct wait_limit {
    bool may_wait = true;
    base::deadline until = std::nullopt;
    const sigset_t* mask = nullptr;
    /// The caller's reference as a user. If it is empty after the wait, the context may be gone: it was destroyed while
    /// the caller slept, perhaps by a signal handler that interrupted the sleep.
    kioctx_user* me = nullptr;
  };

  /// The key by which a context is found. Unlike the handle, the serial is never used again.
  struct identity {
    std::uintptr_t handle = 0;
    std::uint64_t serial = 0;
  };

  /// As io_setup(2): makes a context and publishes it. destroy() frees it.
  /// @return an identity, not a pointer: another thread may guess the handle, known from an earlier context, and
  /// destroy the new context before this call returns.
  static identity make(unsigned nr_events, engine_kind carried_by, std::error_code& ec) noexcept;
  kioctx(const kioctx&) = delete;
  kioctx& operator=(const kioctx&) = delete;

  // Members for users. Each makes the kernel's checks in the kernel's order.

  /// `Iocb` is iocb, which signals an eventfd of this library, or iocb_abi, whose resfd is a kernel descriptor.
  template <class Iocb>
  std::size_t submit(std::span<Iocb* const> iocbs, std::error_code& ec) noexcept;
  /// See context::read_inline().
  [[nodiscard]] std::optional<std::int64_t> read_inline(iocb& asked) noexcept;
  std::size_t get_events(std::size_t min, std::span<io_event> events, const wait_limit& limit,
                         std::error_code& ec) noexcept;
  /// Waits until there is an event, and leaves the event in the ring. @return whether there is one.
  [[nodiscard]] bool wait_for_any(const wait_limit& limit) noexcept;
  void cancel(const iocb_abi& asked, std::error_code& ec) noexcept;
  /// How many of `count` iocbs one submit examines, or of `count` events one call can fetch.
  [[nodiscard]] std::size_t at_most(std::size_t count) const noexcept {
    return std::min<std::size_t>(count, ring_.capacity());
  }
  void reap_all() noexcept;
  /// The same for a thread that does not fetch the events: a loop that waits for the descriptor finds them.
  void reap_all_for_others() noexcept;
  /// io_getevents() was called: the reaper need not fill the ring until the program stops calling.
  void on_getevents() noexcept;

  // For the reaper (reaped_context).

  [[nodiscard]] bool try_enter() noexcept override { return users_.tryget_live(); }
  void leave() noexcept override { users_.put(); }
  [[nodiscard]] std::array<int, 2> descriptors() const noexcept override { return engine_->descriptors(); }
  [[nodiscard]] bool must_be_looked_at() const noexcept override { return engine_->must_be_looked_at(); }
  // equivalent fault (comparison): the reaper also looks at contexts without requests, which costs time
  [[nodiscard]] bool has_requests() const noexcept override { return in_flight_.load(base::memory_order_seq_cst) > 0; }
  [[nodiscard]] bool has_requests_of_ring_reader() const noexcept override {
    return last_call_.load(base::memory_order_relaxed) == last_call::never && has_requests();
  }
  /// Stops as soon as the program fetches its events by calls.
  void reap_for_others() noexcept override;
  void on_round() noexcept override;

  /// The requests that an ending process waits for. Like engine::file_io_done(), file_io_left() may be called in a
  /// signal handler that has interrupted any other member.
  struct file_io {
    std::uint64_t left = 0;  // accepted, but not carried out yet, or the eventfd is not signalled yet
    bool must_be_reaped = false;
  };
  [[nodiscard]] file_io file_io_left() const noexcept;

  /// Destroys the context; `me` is the caller's reference as a user. When `ec` is clear, *this is gone.
  void destroy(kioctx_user me, std::error_code& ec) noexcept;

  /// Drops what a sleeper that never returns still holds: its reference as a user, and its role (sleep_record::role).
  void leave_for_sleeper(sleep_record& sleeper) noexcept;
  /// Keeps the memory of the context beyond destroy(), for threads that may still be inside engine::wait().
  void keep_memory() noexcept { memory_users_.fetch_add(1, base::memory_order_relaxed); }
  void release_memory() noexcept;

  [[nodiscard]] rundown_ref& users() noexcept { return users_; }
  /// For the program, which may poll it from now on.
  [[nodiscard]] int descriptor() noexcept;
  [[nodiscard]] std::string_view engine_name() const noexcept { return engine_->name(); }
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }
  /// The handle, by which the table finds the context.
  [[nodiscard]] std::uintptr_t key() const noexcept { return key_.load(base::memory_order_relaxed); }
  [[nodiscard]] bool has_moved_to(std::uintptr_t handle) noexcept;
  /// In a fork's child: releases the engine's resources that the child has inherited and does not use.
  void abandon_in_child() noexcept { engine_->abandon_in_child(); }

 private:
  friend class ioctx_table;
  struct unpublished;
  struct provisions;
  /// The reaper's work for the context.
  enum class reaper_work : std::uint8_t {
    none,         ///< the reaper does not know the context
    in_rounds,    ///< the reaper checks once a second whether the program still calls io_getevents()
    until_asked,  ///< the reaper completes requests until the program calls io_getevents()
    efds          ///< the reaper completes requests, some of which signal eventfds
  };
  /// When io_getevents() was last called. Each call of io_getevents() changes it, and so does the reaper in its rounds,
  /// once a second.
  enum class last_call : std::uint8_t {
    never,         ///< never, or not for two rounds although there were requests
    before_round,  ///< before the last round
    since_round    ///< since the last round
  };
  using active_list = boost::intrusive::list<request, boost::intrusive::constant_time_size<false>>;
  static constexpr std::size_t submit_batch = 64;
  static constexpr std::uint64_t files_unit = std::uint64_t{1} << 32;

  kioctx() = default;
  ~kioctx() = default;

  // Submitting.
  template <class Iocb>
  std::size_t submit_some(std::span<Iocb* const> iocbs, std::error_code& ec) noexcept;
  template <class Iocb>
  std::size_t answer_hot_reads(std::span<Iocb* const> iocbs, resfd_lookup& numbers) noexcept;
  [[nodiscard]] file_hints::kind hint_for(iocb_abi* asked) noexcept;
  void publish_hot(std::span<const io_event> events, std::size_t slots_left) noexcept;
  template <class Iocb>
  std::size_t prepare(std::span<Iocb* const> iocbs, std::span<request*> made, resfd_lookup& numbers,
                      std::error_code& ec) noexcept;
  template <class Iocb>
  [[nodiscard]] request* prepare(Iocb* asked, provisions& left, std::error_code& ec) noexcept;
  template <class Iocb>
  [[nodiscard]] std::error_code check(Iocb& asked, request& made, provisions& left) noexcept;
  [[nodiscard]] bool leave_to_kernel(iocb_abi& asked, request& made, provisions& left) noexcept;
  [[nodiscard]] bool find_eventfd_for_reaper(const iocb_abi& asked, request& made, provisions& left) noexcept;
  [[nodiscard]] std::size_t start_checked(std::span<iocb_abi* const> iocbs, std::span<request* const> refused,
                                          resfd_lookup& numbers, std::error_code& ec) noexcept;
  [[nodiscard]] bool has_calls_only(provisions& left) noexcept;
  [[nodiscard]] bool kernel_may_signal(const request& checked, provisions& left) noexcept;
  [[nodiscard]] request* make_request(const iocb_abi& asked, provisions& left) noexcept;
  [[nodiscard]] std::size_t take_slots(std::size_t wanted) noexcept;
  [[nodiscard]] std::size_t start(std::span<request* const> made) noexcept;
  /// Whether the file I/O of an accepted request is complete only when the library has signalled an eventfd, because
  /// another process may wait for the signal.
  [[nodiscard]] static bool owes_signal(const request& made) noexcept {
    return made.ends_by_itself && made.target.kernel_eventfd != nullptr && !made.kernel_may_signal;
  }
  /// The amount by which these requests increase in_flight_.
  [[nodiscard]] static std::uint64_t weight(std::span<request* const> made) noexcept;
  [[nodiscard]] bool count_in(std::span<request* const> made) noexcept;
  void count_out(std::span<request* const> made) noexcept;
  void count_signals_left(std::span<request* const> made) noexcept;
  [[nodiscard]] std::size_t start_by_engine(std::span<request* const> made) noexcept;
  [[nodiscard]] bool answer(request& made) noexcept;
  void ensure_reaper(std::error_code& ec) noexcept;
  void fill_ring_until_asked() noexcept;
  void follow_engine() noexcept;
  void watch_locked(reaper_work wanted, std::error_code& ec) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(reaper_work_lock_);
  void visit_in_rounds_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(reaper_work_lock_);
  /// Whether the reaper completes requests as soon as it can.
  [[nodiscard]] bool has_filler() const noexcept {
    const auto what = reaper_work_.load(base::memory_order_relaxed);
    return what == reaper_work::until_asked || what == reaper_work::efds;
  }
  [[nodiscard]] bool calls_for_events() const noexcept {
    return last_call_.load(base::memory_order_relaxed) != last_call::never;
  }
  [[nodiscard]] bool has_sleepers() const noexcept;
  void abandon(request& unstarted) noexcept;
  void enlist(std::span<request* const> started) noexcept;

  // Completing.
  /// Whether the thread that reaps also fetches the events, or a loop that waits for the descriptor must learn of them.
  enum class fetched_by : std::uint8_t { this_thread, others };
  bool reap(fetched_by whom) noexcept;
  void complete(std::span<completion> done, fetched_by whom) noexcept;
  void reap_started(std::span<request* const> started) noexcept;
  /// Makes the descriptor readable if the ring has more events than the `known` ones.
  void announce(std::size_t known = 0) noexcept;
  void let_go(std::span<const completion> done) noexcept;
  void tell_answered(std::span<const completion> done) const noexcept;
  void count_out_files(std::span<const completion> done) noexcept;
  void delist(std::span<const completion> done) noexcept;
  void publish(std::span<const completion> done) noexcept;

  // Waiting.
  void notify_waiters() noexcept;
  void notify_masked_waiters() noexcept;
  [[nodiscard]] bool is_dead() const noexcept { return dead_.load(base::memory_order_acquire); }
  [[nodiscard]] engine::wait_result wait_for_news(std::uint32_t seen, const wait_limit& limit,
                                                  std::error_code& ec) noexcept;
  [[nodiscard]] engine::wait_result lead(std::uint32_t seen, const wait_limit& limit, sleep_record* record) noexcept;
  [[nodiscard]] engine::wait_result follow(std::uint32_t seen, const wait_limit& limit, sleep_record* record) noexcept;
  [[nodiscard]] engine::wait_result follow_until(std::uint32_t seen, base::deadline until, bool must_look) noexcept;
  [[nodiscard]] engine::wait_result wait_masked(std::uint32_t seen, const wait_limit& limit, sleep_record* record,
                                                std::error_code& ec) noexcept;
  void end_lead() noexcept;
  void forget_masked(std::optional<masked_sleeper>& sleeper) noexcept;
  template <class Sleep>
  [[nodiscard]] engine::wait_result sleep(sleep_record* record, sleep_record::role what, const wait_limit& limit,
                                          Sleep sleep_now) noexcept;
  [[nodiscard]] static bool has_left(const wait_limit& limit) noexcept { return limit.me != nullptr && !*limit.me; }
  void wait_for_users() noexcept;
  [[nodiscard]] std::size_t get_ready(std::span<io_event> events) noexcept;
  [[nodiscard]] bool cancel_all() noexcept;
  [[nodiscard]] bool only_endless_left() noexcept;
  void end_the_endless() noexcept;

  request_pool requests_;
  std::unique_ptr<engine> engine_;
  std::uint64_t serial_ = 0;
  pid_t process_ = 0;     // the owner; a child by clone(2) has copies of its parent's contexts, without their rings
  unsigned charged_ = 0;  // requests that count against the limit of the process
  base::atomic<std::uintptr_t> key_{0};
  base::atomic<kioctx*> next_ending_{nullptr};  // for the table

  rundown_ref users_;
  base::atomic<bool> dead_{false};
  base::atomic<std::uint32_t> memory_users_{1};  // destroy(), and sleepers whose records it has taken over
  base::atomic<std::uint64_t> in_flight_{0};     // requests, plus files_unit for each that ends by itself
  base::atomic<std::uint64_t> signals_left_{0};  // requests for which owes_signal() holds; raised before in_flight_

  // Changed under reaper_work_lock_, which is acquired before the reaper's lock.
  base::mutex reaper_work_lock_;
  base::atomic<reaper_work> reaper_work_{reaper_work::none};
  base::atomic<bool> is_left_to_getters_{false};         // a reaper that completes requests here shall stop
  base::atomic<last_call> last_call_{last_call::never};  // also changed by calls, without the lock
  base::atomic<bool> is_polled_{false};                  // the program has the descriptor
  base::atomic<unsigned> replacements_{0};               // of the engine's descriptors, as far as the reaper knows

  base::mutex active_lock_;
  active_list active_ DOORBELL_GUARDED_BY(active_lock_);  // requests that cancel() finds
  bool has_endless_ = false;                              // for destroy() only

  file_hints hints_;
  resfd_cache resfd_cache_;

  base::mutex ring_lock_;
  ring ring_;  // guarded by ring_lock_, except its constants

  base::atomic<std::uint32_t> event_sequence_{
      0};                                     // counts publications and all other events that sleepers must look at
  base::atomic<std::uint32_t> followers_{0};  // asleep on event_sequence_
  base::atomic<std::uint32_t> masked_{0};     // asleep with a signal mask of their own; the length of masked_sleepers_
  base::mutex masked_lock_;
  boost::intrusive::list<masked_sleeper, boost::intrusive::constant_time_size<false>> masked_sleepers_
      DOORBELL_GUARDED_BY(masked_lock_);
};

}  // namespace doorbell::aio
