// SPDX-License-Identifier: Apache-2.0
//
// kioctx: an AIO context. What it promises about its end:
//
//   users  (who is inside a call on it: live_count)     reqs  (in flight: in_flight_)
//   destroy: dead, once -> the reaper forgets it -> users killed, sleepers woken, users gone -> requests cancelled
//            -> all completed -> ring unmapped, engine closed. All of that in the caller of destroy().
//
//   submit                               destroy
//   users.tryget_live()
//   starts requests                      users.kill(); waits for users
//   users.put()
//                                        cancels what is in flight: the new requests are among it
//
//   forbidden: a request started after the cancelling. It needs a live user, and none is left by then.
//
// Completions are reaped by whoever comes first: a thread in get_events(), the process's reaper, destroy(). They are
// users while they do; the last to touch a context is therefore destroy() itself.
//
// Locks, all leaves: active_lock_, ring_lock_, the engine's. None is held while an eventfd's lock is taken, since wake
// functions may call back into submit().
#pragma once

#include <boost/intrusive/list.hpp>

#include <csignal>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include <doorbell/base/futex.hpp>
#include <doorbell/base/mutex.hpp>

#include "engine.hpp"
#include "live_count.hpp"
#include "request.hpp"
#include "ring.hpp"

namespace doorbell::aio {

class kioctx {
 public:
  /// As io_setup(2). Null when `ec` is set.
  static std::unique_ptr<kioctx> make(unsigned nr_events, std::error_code& ec) noexcept;
  /// Destroyed before.
  ~kioctx() = default;
  kioctx(const kioctx&) = delete;
  kioctx& operator=(const kioctx&) = delete;

  std::size_t submit(std::span<iocb* const> iocbs, std::error_code& ec) noexcept;
  std::size_t get_events(std::size_t min, std::span<io_event> events, base::deadline until, bool may_wait,
                         std::error_code& ec) noexcept;
  void cancel(const iocb& asked, std::error_code& ec) noexcept;
  void destroy(std::error_code& ec) noexcept;

  /// Completes what is there, if the context is live; for the reaper.
  [[nodiscard]] live_count& users() noexcept { return users_; }
  void reap_all() noexcept;

  [[nodiscard]] int descriptor() const noexcept { return engine_->descriptor(); }
  [[nodiscard]] void* handle() const noexcept { return users_.is_dying() ? nullptr : ring_.address(); }
  [[nodiscard]] std::string_view engine_name() const noexcept { return engine_name_; }

 private:
  using active_list = boost::intrusive::list<request, boost::intrusive::constant_time_size<false>>;
  static constexpr std::size_t submit_batch = 64;

  kioctx() = default;

  // Submitting.
  std::size_t submit_some(std::span<iocb* const> iocbs, std::error_code& ec) noexcept;
  [[nodiscard]] request* prepare(iocb* asked, std::error_code& ec) noexcept;
  [[nodiscard]] bool take_slot() noexcept;
  [[nodiscard]] bool reaped_by_somebody(const request& asked, std::error_code& ec) noexcept;
  void abandon(request& unstarted) noexcept;
  void enlist(std::span<request* const> started) noexcept;

  // Completing.
  bool reap() noexcept;
  void complete(std::span<completion> done) noexcept;
  [[nodiscard]] bool restart(request& orphan) noexcept;
  [[nodiscard]] std::span<completion> restart_orphans(std::span<completion> done) noexcept;
  void delist(std::span<const completion> done) noexcept;
  void publish(std::span<const completion> done) noexcept;

  // Waiting.
  void announce() noexcept;
  [[nodiscard]] engine::wait_result wait_for_news(std::uint32_t seen, base::deadline until) noexcept;
  [[nodiscard]] engine::wait_result lead(std::uint32_t seen, base::deadline until) noexcept;
  [[nodiscard]] engine::wait_result follow(std::uint32_t seen, base::deadline until) noexcept;
  [[nodiscard]] std::size_t get_ready(std::span<io_event> events) noexcept;
  void cancel_all() noexcept;

  std::unique_ptr<engine> engine_;
  std::string_view engine_name_;
  live_count users_;
  base::atomic<std::uint32_t> in_flight_{0};
  base::atomic<bool> has_reaper_{false};

  base::mutex active_lock_;
  active_list active_ ABSL_GUARDED_BY(active_lock_);  // what cancel() finds

  base::mutex ring_lock_;
  ring ring_;  // guarded by ring_lock_, but for its constants

  base::atomic<std::uint32_t> news_{0};       // counts publications, and everything else a sleeper should look at
  base::atomic<std::uint32_t> followers_{0};  // asleep on news_
};

}  // namespace doorbell::aio
