// SPDX-License-Identifier: Apache-2.0
//
// The reaper's work for a context (reaper_work_), and when the program has called io_getevents() (last_call_). Calls of
// the program complete requests themselves. The reaper completes them for programs that wait for an eventfd, and for
// those that only read the ring. It visits the contexts of all other programs once a second, to see whether they still
// call.
//
//   reaper_work_   none         -> until_asked    first submit of a program that has never called
//                  none         -> in_rounds      first submit of a program that has called
//                  until_asked  -> in_rounds      io_getevents()
//                  in_rounds    -> until_asked    submit while last_call_ is never
//                  any          -> efds           submit with an eventfd, for good
//   last_call_     any          -> since_round    io_getevents()
//                  since_round  -> before_round   a round of the reaper
//                  before_round -> never          a round that finds requests, and no thread that sleeps for events
//                  before_round -> since_round    a round that finds requests, and a thread that sleeps for events
//
// A program that has stopped calling finds its first event in the ring within two rounds. While last_call_ is never,
// the reaper looks at the context every few milliseconds as long as it has requests; the next submit adds the
// descriptors to the reaper's epoll, and then completions wake the reaper.
//
//   reaper, in a round                   io_getevents()
//   last_call_: before_round -> never    last_call_ = since_round
//   completes requests                   reaper_work_ == until_asked ? -> in_rounds
//                                        completes requests
//
//   legal:     the call comes second: the reaper completes requests once more, then leaves them to the calls. Or the
//              call comes first: the compare-exchange fails.
//   forbidden: last_call_ stays never although the call came after the round had read before_round. The round
//              changes it by one compare-exchange.
//
//   submit                               io_getevents()
//   last_call_ is never                  last_call_ = since_round
//   the reaper watches the context       reaper_work_ == until_asked ? no
//   reaper_work_ = until_asked
//
//   legal:     the reaper fills the ring although the program calls. The next call ends that.
//   forbidden: a request that neither thread completes. A call completes requests whatever the value of reaper_work_
//              is.
//
//   reaper, in a round                   destroy
//   finds the context, tryget_live()     users.kill(); waits for users
//   on_round(); put()                    reaper_work_ is not none -> forget()
//
//   forbidden: a visit after the end of destroy. reaper_work_ is none only if the reaper does not know the context, and
//              only users of the context change it.
//
// Memory ordering: the release stores of reaper_work_, all under reaper_work_lock_, pair with the acquire loads before
// the lock is taken. last_call_ is relaxed, because it publishes nothing: an older value costs time, or delays an event
// by a round.
#include <tuple>

#include "../reaper/reaper.hpp"
#include "kioctx.hpp"

namespace doorbell::aio {

// A request that signals an eventfd must be completed even if no thread calls io_getevents().
void kioctx::ensure_reaper(std::error_code& ec) noexcept {
  if (reaper_work_.load(base::memory_order_acquire) == reaper_work::efds) return;
  const base::mutex_lock held{reaper_work_lock_};
  watch_locked(reaper_work::efds, ec);
}

// The engine has replaced descriptors that the reaper and masked sleepers wait for.
void kioctx::follow_engine() noexcept {
  {
    const base::mutex_lock held{reaper_work_lock_};
    // equivalent fault (call): each later submit calls this function again, which costs time
    replacements_.store(engine_->replacements(), base::memory_order_relaxed);
    if (has_filler()) {
      std::error_code refused;  // then the reaper itself tries again
      reaper::process().forget(*this);
      reaper::process().watch(*this, refused);
    }
  }
  notify_waiters();
}

// is_left_to_getters_ is cleared first, because the reaper may visit the context before watch() has returned.
void kioctx::watch_locked(reaper_work wanted, std::error_code& ec) noexcept {
  if (!has_filler()) {
    is_left_to_getters_.store(false, base::memory_order_relaxed);
    reaper::process().watch(*this, ec);
  }
  if (!ec) reaper_work_.store(wanted, base::memory_order_release);
}

// If the reaper has no thread, or no memory, the program finds the events when it makes a call.
void kioctx::visit_in_rounds_locked() noexcept {
  std::error_code refused;
  is_left_to_getters_.store(true, base::memory_order_relaxed);
  reaper::process().visit_in_rounds(*this, refused);
  reaper_work_.store(refused ? reaper_work::none : reaper_work::in_rounds, base::memory_order_release);
}

// A program may read its events from the ring itself and make no call for them. Then the reaper must fill the ring. If
// it cannot, the program finds the events when it makes a call.
void kioctx::fill_ring_until_asked() noexcept {
  const auto known = reaper_work_.load(base::memory_order_acquire);
  if (known == reaper_work::until_asked || known == reaper_work::efds) return;
  const bool makes_calls = calls_for_events();
  if (known == reaper_work::in_rounds && makes_calls) return;
  const base::mutex_lock held{reaper_work_lock_};
  if (reaper_work_.load(base::memory_order_relaxed) != known) return;
  std::error_code refused;
  if (makes_calls)
    visit_in_rounds_locked();
  else
    watch_locked(reaper_work::until_asked, refused);
}

// If a concurrent submit has just begun to watch the context, the next call ends that.
void kioctx::on_getevents() noexcept {
  if (last_call_.load(base::memory_order_relaxed) != last_call::since_round)
    last_call_.store(last_call::since_round, base::memory_order_relaxed);
  if (reaper_work_.load(base::memory_order_acquire) != reaper_work::until_asked) return;
  const base::mutex_lock held{reaper_work_lock_};
  if (reaper_work_.load(base::memory_order_relaxed) != reaper_work::until_asked) return;
  visit_in_rounds_locked();
  if (!is_polled_.load(base::memory_order_relaxed)) engine_->ignore_descriptors();
  if (masked_.load(base::memory_order_seq_cst) > 0) std::ignore = engine_->descriptors();  // for masked sleepers
}

// A thread that sleeps for events called before it fell asleep, and is going to call again. A thread that has left its
// sleep by siglongjmp(3) is taken for a sleeper until a thread calls.
void kioctx::on_round() noexcept {
  auto known = last_call_.load(base::memory_order_relaxed);
  const auto change_to = [&](last_call next) {
    return last_call_.compare_exchange_strong(known, next, base::memory_order_relaxed);
  };
  switch (known) {
    case last_call::since_round:
      change_to(last_call::before_round);
      return;
    case last_call::before_round:
      if (!has_requests()) return;
      if (has_sleepers()) {
        change_to(last_call::since_round);
        return;
      }
      if (!change_to(last_call::never)) return;
      break;
    case last_call::never:
      break;
  }
  {
    const base::mutex_lock held{reaper_work_lock_};
    if (reaper_work_.load(base::memory_order_relaxed) == reaper_work::in_rounds)
      is_left_to_getters_.store(false, base::memory_order_relaxed);
  }
  reap_for_others();
}

bool kioctx::has_sleepers() const noexcept {
  // equivalent fault (dropped): if a sleeper is missed, the reaper completes its requests and wakes it
  return engine_->waiting() || followers_.load(base::memory_order_seq_cst) > 0 ||
         masked_.load(base::memory_order_seq_cst) > 0;
}

}  // namespace doorbell::aio
