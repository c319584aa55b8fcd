// SPDX-License-Identifier: Apache-2.0
//
// Threads in get_events(). One at a time, the leader, sleeps in the engine, where completions arrive; the others, the
// followers, sleep on news_, which is counted up whenever there is something to look at: events published (by whoever has
// reaped them), a leader gone, the context dead.
//
//   follower                             leader, leaving
//   seen = news_                         end_wait()
//   begin_wait(): taken                  followers_ > 0 ?  -> ++news_, wake
//   ++followers_
//   waiting() ? no -> look again
//   sleeps while news_ == seen
//
//   legal:     the follower finds the place free, or the leaver finds the follower.
//   forbidden: neither, and nobody left to lead. Both are seq_cst: a write, then a read of what the other writes.
//
//   follower                             publisher
//   seen = news_                         publishes
//   looks: nothing                       ++news_
//   ++followers_                         followers_ > 0 ?  -> wake
//   sleeps while news_ == seen           waiting() ?       -> engine's wake()
//
//   legal:     futex_wait finds another number, or the publisher finds the follower. For the leader the same holds of
//              begin_wait() and its look at news_ after it.
#include "kioctx.hpp"

namespace doorbell::aio {

std::size_t kioctx::get_events(std::size_t min, std::span<io_event> events, base::deadline until, bool may_wait,
                               std::error_code& ec) noexcept {
  if (min > events.size() || !users_.tryget_live()) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return 0;
  }
  std::size_t got = 0;
  auto result = engine::wait_result::ready;
  for (;;) {
    const auto seen = news_.load(base::memory_order_seq_cst);
    got += get_ready(events.subspan(got));
    if (got >= min || !may_wait || result != engine::wait_result::ready || users_.is_dying()) break;
    result = wait_for_news(seen, until);
  }
  if (got == 0 && min > 0) {
    if (users_.is_dying())
      ec = std::make_error_code(std::errc::invalid_argument);
    else if (result == engine::wait_result::interrupted)
      ec = std::make_error_code(std::errc::interrupted);
  }
  users_.put();
  return got;
}

std::size_t kioctx::get_ready(std::span<io_event> events) noexcept {
  reap_all();
  const base::mutex_lock held{ring_lock_};
  return ring_.get(events);
}

engine::wait_result kioctx::wait_for_news(std::uint32_t seen, base::deadline until) noexcept {
  return engine_->begin_wait() ? lead(seen, until) : follow(seen, until);
}

engine::wait_result kioctx::lead(std::uint32_t seen, base::deadline until) noexcept {
  auto result = engine::wait_result::ready;
  if (news_.load(base::memory_order_seq_cst) == seen) result = engine_->wait(until);
  engine_->end_wait();
  if (followers_.load(base::memory_order_seq_cst) > 0) {
    news_.fetch_add(1, base::memory_order_seq_cst);
    base::futex_wake_all(&news_);
  }
  return result;
}

engine::wait_result kioctx::follow(std::uint32_t seen, base::deadline until) noexcept {
  using clock = std::chrono::steady_clock;
  auto result = base::futex_result::woken;
  followers_.fetch_add(1, base::memory_order_seq_cst);
  // A deadline, be it never, makes every signal handler interrupt the sleep, as io_getevents(2) has it.
  if (engine_->waiting()) result = base::futex_wait(news_, seen, until.value_or(clock::time_point::max()));
  followers_.fetch_sub(1, base::memory_order_seq_cst);
  switch (result) {
    case base::futex_result::timed_out:
      return engine::wait_result::timed_out;
    case base::futex_result::interrupted:
      return engine::wait_result::interrupted;
    case base::futex_result::woken:
      break;
  }
  return engine::wait_result::ready;
}

void kioctx::announce() noexcept {
  news_.fetch_add(1, base::memory_order_seq_cst);
  if (followers_.load(base::memory_order_seq_cst) > 0) base::futex_wake_all(&news_);
  if (engine_->waiting()) engine_->wake();
}

}  // namespace doorbell::aio
