// SPDX-License-Identifier: Apache-2.0
//
// Threads in get_events(). One thread, the leader, sleeps in the engine, where completions arrive. The others, the
// followers, sleep on event_sequence_. It is incremented when events are published (by the thread that reaps them),
// when a leader leaves, when the engine has replaced descriptors, and when the context is destroyed.
//
//   follower                             leader, leaving
//   seen = event_sequence_               end_wait()
//   begin_wait(): taken                  followers_ > 0 ?  -> ++event_sequence_, wake
//   ++followers_
//   waiting() ? no -> looks again
//   sleeps while event_sequence_ == seen
//
//   legal:     the follower finds that there is no leader, or the leaving leader finds the follower.
//   forbidden: neither: no thread leads. Both threads write, then read what the other thread writes, all seq_cst.
//
//   follower                               publisher
//   seen = event_sequence_                 publishes
//   looks: nothing                         ++event_sequence_
//   ++followers_                           followers_ > 0 ?  -> wake
//   sleeps while event_sequence_ == seen   waiting() ?       -> engine's wake()
//
//   legal:     futex_wait finds another number, or the publisher finds the follower. The same holds for the leader,
//              with begin_wait() and its later load of event_sequence_.
//
// Threads with a signal mask of their own neither lead nor follow; see masked_sleeper.
#include <algorithm>
#include <chrono>

#include <doorbell/base/call_scope.hpp>

#include "kioctx.hpp"
#include "masked_sleeper.hpp"

namespace doorbell::aio {
namespace {

// Not a whole second: follower_look splits the wait into several sleeps, and a signal whose handler runs between two of
// them does not end the wait. Timers of whole seconds are common.
constexpr std::chrono::milliseconds follower_look{1013};

}  // namespace

std::size_t kioctx::get_events(std::size_t min, std::span<io_event> events, const wait_limit& limit,
                               std::error_code& ec) noexcept {
  std::size_t got = 0;
  auto result = engine::wait_result::ready;
  // Reads that were carried out inline never reached the engine, so without requests in flight the engine need not be
  // reaped. After a wait it must be: a wakeup may have ended the wait; it belongs to no request, and stays in the
  // engine until it has been reaped. So does an announcement, which ends the wait of a loop at the descriptor.
  const bool had_requests = in_flight_.load(base::memory_order_relaxed) > 0;
  bool has_slept = false;
  for (bool must_reap = had_requests || is_polled_.load(base::memory_order_relaxed);; must_reap = true) {
    const auto seen = event_sequence_.load(base::memory_order_seq_cst);
    if (must_reap) reap_all();
    got += get_ready(events.subspan(got));
    if (got >= min || !limit.may_wait || result != engine::wait_result::ready || ec || is_dead()) break;
    has_slept = true;
    result = wait_for_news(seen, limit, ec);
    if (has_left(limit)) break;
  }
  if (got == events.size() && !has_left(limit)) announce();
  if (had_requests && !limit.may_wait) engine_->note_look();
  if (had_requests && limit.may_wait && !has_left(limit)) {
    const bool has_requests = in_flight_.load(base::memory_order_relaxed) > 0;
    if (!has_slept && !has_requests) engine_->note_late();
    if (has_requests && result == engine::wait_result::timed_out) engine_->note_departure();
  }
  if (got > 0 || min == 0) {
    ec.clear();
  } else if (has_left(limit)) {
    const bool by_handler = result == engine::wait_result::interrupted;
    ec = std::make_error_code(by_handler ? std::errc::interrupted : std::errc::invalid_argument);
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
    const auto seen = event_sequence_.load(base::memory_order_seq_cst);
    reap_all();
    bool is_there = false;
    {
      const base::mutex_lock held{ring_lock_};
      is_there = !ring_.empty();
    }
    if (is_there) {
      announce();  // the caller does not fetch the event
      return true;
    }
    if (!limit.may_wait || result != engine::wait_result::ready || is_dead()) return false;
    std::error_code ec;
    result = wait_for_news(seen, limit, ec);
    if (ec || has_left(limit)) return false;
  }
}

std::size_t kioctx::get_ready(std::span<io_event> events) noexcept {
  const base::mutex_lock held{ring_lock_};
  return ring_.get(events);
}

// Sleeps by sleep_now(). If has_left() afterwards, *this may be gone.
template <class Sleep>
engine::wait_result kioctx::sleep(sleep_record* record, sleep_record::role what, const wait_limit& limit,
                                  Sleep sleep_now) noexcept {
  if (record != nullptr) record->begin(*this, what);
  engine_->note_sleep();
  auto result = engine::wait_result::interrupted;
  {
    const base::outside_of_call here;
    if (!base::refusals_remembered::must_return()) result = sleep_now();
  }
  if (record != nullptr && !record->end()) limit.me->has_left();
  return result;
}

// The leader may be this thread: in a call that a signal handler has interrupted, or that it has left by siglongjmp(3).
// Then it sleeps in the engine once more, and stays the leader afterwards.
engine::wait_result kioctx::wait_for_news(std::uint32_t seen, const wait_limit& limit, std::error_code& ec) noexcept {
  auto* const record = limit.me != nullptr ? sleep_record::get() : nullptr;
  if (limit.mask != nullptr) return wait_masked(seen, limit, record, ec);
  if (engine_->begin_wait()) return lead(seen, limit, record);
  if (!sleep_record::is_led_by_this_thread(*this)) return follow(seen, limit, record);
  return sleep(record, sleep_record::role::nothing, limit, [&] {
    return event_sequence_.load(base::memory_order_seq_cst) == seen ? engine_->wait(limit.until)
                                                                    : engine::wait_result::ready;
  });
}

engine::wait_result kioctx::lead(std::uint32_t seen, const wait_limit& limit, sleep_record* record) noexcept {
  const auto result = sleep(record, sleep_record::role::leader, limit, [&] {
    return event_sequence_.load(base::memory_order_seq_cst) == seen ? engine_->wait(limit.until)
                                                                    : engine::wait_result::ready;
  });
  if (!has_left(limit)) end_lead();
  return result;
}

void kioctx::end_lead() noexcept {
  engine_->end_wait();
  if (followers_.load(base::memory_order_seq_cst) == 0) return;
  // equivalent fault (constant): only a change counts
  event_sequence_.fetch_add(1, base::memory_order_seq_cst);
  base::futex_wake_all(&event_sequence_);
}

engine::wait_result kioctx::follow(std::uint32_t seen, const wait_limit& limit, sleep_record* record) noexcept {
  followers_.fetch_add(1, base::memory_order_seq_cst);
  const auto result = sleep(record, sleep_record::role::follower, limit,
                            [&] { return follow_until(seen, limit.until, record != nullptr); });
  if (has_left(limit)) return result;
  followers_.fetch_sub(1, base::memory_order_seq_cst);
  return result;
}

// @param must_look whether the leader may be a thread that has left its sleep by siglongjmp(3): then this thread
//   looks for completions now and then.
engine::wait_result kioctx::follow_until(std::uint32_t seen, base::deadline until, bool must_look) noexcept {
  using clock = std::chrono::steady_clock;
  if (!engine_->waiting()) return engine::wait_result::ready;
  // With a deadline, even one that never comes, every signal handler interrupts the sleep, as in io_getevents(2).
  const auto last = until.value_or(clock::time_point::max());
  for (;;) {
    const auto next = must_look ? std::min(last, clock::now() + follower_look) : last;
    switch (base::futex_wait(event_sequence_, seen, next)) {
      case base::futex_result::timed_out:
        if (next == last) return engine::wait_result::timed_out;
        if (engine_->waiting()) return engine::wait_result::ready;
        break;  // the leader has just left, and is about to wake this thread
      case base::futex_result::interrupted:
        return engine::wait_result::interrupted;
      case base::futex_result::woken:
        return engine::wait_result::ready;
    }
  }
}

engine::wait_result kioctx::wait_masked(std::uint32_t seen, const wait_limit& limit, sleep_record* record,
                                        std::error_code& ec) noexcept {
  std::optional<masked_sleeper> without_record;
  auto& me = record != nullptr ? record->masked() : without_record;
  if (!me.emplace()) {
    ec.assign(errno, std::system_category());
    me.reset();
    return engine::wait_result::ready;
  }
  {
    const base::mutex_lock held{masked_lock_};
    masked_sleepers_.push_back(*me);
    masked_.fetch_add(1, base::memory_order_seq_cst);
  }
  // Called after this thread is in masked_sleepers_: before that, on_getevents() might let the engine stop announcing
  // completions by these descriptors.
  const auto descriptors = engine_->descriptors();
  // If no descriptor announces completions, this thread looks for them every millisecond.
  auto until = limit.until;
  const bool must_look = descriptors[0] < 0 || engine_->must_be_looked_at();
  if (must_look) {
    const auto next_look = std::chrono::steady_clock::now() + std::chrono::milliseconds{1};
    until = until ? std::min(*until, next_look) : next_look;
  }
  const auto result = sleep(record, sleep_record::role::nothing, limit, [&] {
    if (event_sequence_.load(base::memory_order_seq_cst) != seen) return engine::wait_result::ready;
    return me->sleep(descriptors, until, limit.mask);
  });
  if (has_left(limit)) return result;
  forget_masked(me);
  const bool is_over = limit.until && *limit.until <= std::chrono::steady_clock::now();
  return must_look && result == engine::wait_result::timed_out && !is_over ? engine::wait_result::ready : result;
}

void kioctx::forget_masked(std::optional<masked_sleeper>& sleeper) noexcept {
  {
    const base::mutex_lock held{masked_lock_};
    masked_.fetch_sub(1, base::memory_order_seq_cst);
    // NOLINTNEXTLINE(bugprone-unchecked-optional-access): the callers pass a sleeper that is on the list
    masked_sleepers_.erase(masked_sleepers_.iterator_to(*sleeper));
  }
  sleeper.reset();
}

void kioctx::leave_for_sleeper(sleep_record& sleeper) noexcept {
  if (sleeper.masked()) forget_masked(sleeper.masked());
  switch (sleeper.what()) {
    case sleep_record::role::nothing:
      break;
    case sleep_record::role::leader:
      end_lead();
      break;
    case sleep_record::role::follower:
      followers_.fetch_sub(1, base::memory_order_seq_cst);
      break;
  }
  users_.put();
}

void kioctx::notify_masked_waiters() noexcept {
  const base::mutex_lock held{masked_lock_};
  for (const auto& each : masked_sleepers_) each.wake();
}

void kioctx::notify_waiters() noexcept {
  event_sequence_.fetch_add(1, base::memory_order_seq_cst);
  if (followers_.load(base::memory_order_seq_cst) > 0) base::futex_wake_all(&event_sequence_);
  if (engine_->waiting()) engine_->wake();
  if (masked_.load(base::memory_order_seq_cst) > 0) notify_masked_waiters();
}

}  // namespace doorbell::aio
