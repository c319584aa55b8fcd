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
//
// Threads with a signal mask of their own neither lead nor follow; see masked_sleeper.
#include <algorithm>
#include <chrono>

#include "kioctx.hpp"
#include "masked_sleeper.hpp"

namespace doorbell::aio {

std::size_t kioctx::get_events(std::size_t min, std::span<io_event> events, const wait_limit& limit,
                               std::error_code& ec) noexcept {
  std::size_t got = 0;
  auto result = engine::wait_result::ready;
  // What has been answered at once has never been with the engine: of it alone, the engine need not be asked. After a wait it
  // must be: what ended that may be a wake, which is nobody's request and stays there until it has been reaped.
  bool must_reap = in_flight_.load(base::memory_order_relaxed) > 0;
  for (;; must_reap = true) {
    const auto seen = news_.load(base::memory_order_seq_cst);
    if (must_reap) reap_all();
    got += get_ready(events.subspan(got));
    if (got >= min || !limit.may_wait || result != engine::wait_result::ready || ec || is_dead()) break;
    result = wait_for_news(seen, limit, ec);
  }
  if (got > 0 || min == 0) {
    ec.clear();
  } else if (is_dead()) {
    ec = std::make_error_code(std::errc::invalid_argument);
  } else if (result == engine::wait_result::interrupted) {
    ec = std::make_error_code(std::errc::interrupted);
  }
  return got;
}

bool kioctx::wait_for_any(const wait_limit& limit) noexcept {
  auto result = engine::wait_result::ready;
  for (;;) {
    const auto seen = news_.load(base::memory_order_seq_cst);
    reap_all();
    {
      const base::mutex_lock held{ring_lock_};
      if (!ring_.empty()) return true;
    }
    if (!limit.may_wait || result != engine::wait_result::ready || is_dead()) return false;
    std::error_code ec;
    result = wait_for_news(seen, limit, ec);
    if (ec) return false;
  }
}

std::size_t kioctx::get_ready(std::span<io_event> events) noexcept {
  const base::mutex_lock held{ring_lock_};
  return ring_.get(events);
}

engine::wait_result kioctx::wait_for_news(std::uint32_t seen, const wait_limit& limit, std::error_code& ec) noexcept {
  if (limit.mask != nullptr) return wait_masked(seen, limit, ec);
  return engine_->begin_wait() ? lead(seen, limit.until) : follow(seen, limit.until);
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

engine::wait_result kioctx::wait_masked(std::uint32_t seen, const wait_limit& limit, std::error_code& ec) noexcept {
  masked_sleeper me;
  const int descriptor = engine_->descriptor();
  if (!me) {
    ec.assign(errno, std::system_category());
    return engine::wait_result::ready;
  }
  // Without a descriptor nothing announces completions, so this thread looks for them every millisecond.
  auto until = limit.until;
  const bool must_look = descriptor < 0;
  if (must_look) {
    const auto next_look = std::chrono::steady_clock::now() + std::chrono::milliseconds{1};
    until = until ? std::min(*until, next_look) : next_look;
  }
  {
    const base::mutex_lock held{masked_lock_};
    masked_sleepers_.push_back(me);
    masked_.fetch_add(1, base::memory_order_seq_cst);
  }
  auto result = engine::wait_result::ready;
  if (news_.load(base::memory_order_seq_cst) == seen) result = me.sleep(descriptor, until, limit.mask);
  const base::mutex_lock held{masked_lock_};
  masked_.fetch_sub(1, base::memory_order_seq_cst);
  masked_sleepers_.erase(masked_sleepers_.iterator_to(me));
  const bool is_over = limit.until && *limit.until <= std::chrono::steady_clock::now();
  return must_look && result == engine::wait_result::timed_out && !is_over ? engine::wait_result::ready : result;
}

void kioctx::announce_to_masked() noexcept {
  const base::mutex_lock held{masked_lock_};
  for (const auto& each : masked_sleepers_) each.wake();
}

void kioctx::announce() noexcept {
  news_.fetch_add(1, base::memory_order_seq_cst);
  if (followers_.load(base::memory_order_seq_cst) > 0) base::futex_wake_all(&news_);
  if (engine_->waiting()) engine_->wake();
  if (masked_.load(base::memory_order_seq_cst) > 0) announce_to_masked();
}

}  // namespace doorbell::aio
