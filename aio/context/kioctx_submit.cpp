// SPDX-License-Identifier: Apache-2.0
//
// Starts the requests of a submit, or carries them out inline.
#include <algorithm>
#include <array>
#include <new>
#include <type_traits>

#include "../io/inline_io.hpp"
#include "../reaper/reaper.hpp"
#include "../request/iocb_eventfd.hpp"
#include "../request/operation.hpp"
#include "../system/user_memory.hpp"
#include "kioctx.hpp"
#include "process_end.hpp"

namespace doorbell::aio {
namespace {

// If four or more iocbs are submitted together, and the first one has the facts about its file (iocb::set_file()), an
// engine that submits reads together is cheaper than one system call for each.
bool is_batch(std::span<iocb* const> iocbs) noexcept {
  constexpr std::size_t enough = 4;
  // equivalent fault (negated): callers have returned already if the iocb is null; without batches, reads take longer
  return iocbs.size() >= enough && iocbs.front() != nullptr && iocbs.front()->file();
}
bool is_batch(std::span<iocb_abi* const> /*iocbs*/) noexcept { return false; }

// Reports to the request_observer. An iocb's memory must still be valid, so the report precedes the event.

void notify_answered_inline(const iocb_abi& what, std::int64_t res,
                            request_observer::clock::time_point began) noexcept {
  auto* const watcher = request_observer::current();
  if (watcher == nullptr) return;
  watcher->taken(what);
  watcher->answered(what, res, request_observer::answered_by::submit, request_observer::clock::now() - began);
}

void tell_taken(std::span<request* const> made) noexcept {
  auto* const watcher = request_observer::current();
  if (watcher == nullptr) return;
  for (auto* each : made) {
    each->taken_at = request_observer::clock::now();
    watcher->taken(each->iocb);
  }
}

void tell_given_back(std::span<request* const> unstarted) noexcept {
  auto* const watcher = request_observer::current();
  if (watcher == nullptr) return;
  for (const auto* each : unstarted) watcher->given_back(each->iocb);
}

}  // namespace

template <class Iocb>
std::size_t kioctx::submit(std::span<Iocb* const> iocbs, std::error_code& ec) noexcept {
  iocbs = iocbs.first(at_most(iocbs.size()));
  std::size_t started = 0;
  while (started < iocbs.size() && !ec)
    started += submit_some(iocbs.subspan(started, std::min(submit_batch, iocbs.size() - started)), ec);
  if (started > 0) ec.clear();
  return started;
}

template std::size_t kioctx::submit(std::span<iocb* const>, std::error_code&) noexcept;
template std::size_t kioctx::submit(std::span<iocb_abi* const>, std::error_code&) noexcept;

// @return how many iocbs were taken; `ec` is set if not all were.
template <class Iocb>
std::size_t kioctx::submit_some(std::span<Iocb* const> iocbs, std::error_code& ec) noexcept {
  resfd_lookup numbers{resfd_cache_};
  std::size_t taken = 0;
  while (const auto answered = answer_hot_reads(iocbs.subspan(taken), numbers)) taken += answered;
  if (taken == iocbs.size()) return taken;
  std::array<request*, submit_batch> made;
  const auto requests = std::span{made}.first(prepare(iocbs.subspan(taken), made, numbers, ec));
  auto started = start(requests);
  auto refusal = std::make_error_code(std::errc::resource_unavailable_try_again);
  if constexpr (std::is_same_v<Iocb, iocb_abi>)
    while (started < requests.size() && requests[started]->is_left_to_kernel)
      started += start_checked(iocbs.subspan(taken + started), requests.subspan(started), numbers, refusal);
  if (std::is_same_v<Iocb, iocb_abi> && in_flight_.load(base::memory_order_relaxed) > 0) fill_ring_until_asked();
  if (has_filler() && reaper::process().needs_epoll()) [[unlikely]]
    reaper::process().restore_epoll();
  for (auto* unstarted : requests.subspan(started)) abandon(*unstarted);
  if (started < requests.size()) ec = refusal;
  return taken + started;
}

// Answers the leading reads whose data is in the page cache and which signal the same eventfd. Their events go straight
// into the ring: no request is made, counted in in_flight_ or put on the list of requests that can be cancelled.
// @return how many.
template <class Iocb>
std::size_t kioctx::answer_hot_reads(std::span<Iocb* const> iocbs, resfd_lookup& numbers) noexcept {
  auto hint = iocbs.empty() ? file_hints::kind::other : hint_for(iocbs.front());
  if (!file_hints::may_be_hot(hint)) return 0;
  if (hint == file_hints::kind::cached && is_batch(iocbs) && !has_eventfd(*iocbs.front()) &&
      engine_->takes_many_by_one_call())
    return 0;
  completion_target target;
  if (has_eventfd(*iocbs.front()) && find_eventfd(*iocbs.front(), target, numbers)) return 0;
  // find_eventfd() has checked that the descriptor to which signal_verified() writes below is still the program's
  // eventfd, and the reads in between do not wait.
  const base::private_fd::verified_scope verified{target.kernel_eventfd != nullptr ? &target.kernel_eventfd->file()
                                                                                   : nullptr};
  const auto slots = take_slots(iocbs.size());
  std::array<io_event, submit_batch> events;
  std::size_t count = 0;
  while (count < slots) {
    auto& asked = *iocbs[count];
    const auto began = now_if_watched();
    const auto res = try_read_inline(asked, hint, hints_);
    if (!res) break;
    asked.key = 0;
    notify_answered_inline(asked, *res, began);
    events[count++] = {asked.data, static_cast<iocb*>(static_cast<iocb_abi*>(&asked)), *res, 0};
    if (count == slots) break;
    hint = hint_for(iocbs[count]);
    if (!file_hints::may_be_hot(hint) || !signal_the_same(*iocbs.front(), *iocbs[count])) break;
  }
  publish_hot(std::span{events}.first(count), slots - count);
  if (count == 0) return 0;
  if (target.eventfd != nullptr) target.signal_verified(count);
  notify_waiters();
  return count;
}

std::optional<std::int64_t> kioctx::read_inline(iocb& asked) noexcept {
  const auto hint = hint_for(&asked);
  if (!file_hints::may_be_hot(hint)) return std::nullopt;
  const auto began = now_if_watched();
  const auto res = try_read_inline(asked, hint, hints_);
  if (res) notify_answered_inline(asked, *res, began);
  return res;
}

file_hints::kind kioctx::hint_for(iocb_abi* asked) noexcept {
  const bool is_candidate = is_writable(asked, sizeof *asked) && is_plain_read(*asked);
  return is_candidate ? hints_.of(asked->fildes) : file_hints::kind::other;
}

// Starts the requests in their order, up to the first that the engine does not take. Before this thread carries out a
// request inline, the engine starts the requests before it. Only a read that is likely to be in the cache is worth that
// extra call of the engine; any other read goes to the engine with the requests before it.
std::size_t kioctx::start(std::span<request* const> made) noexcept {
  std::size_t started = 0;  // by the engine, or completed inline
  std::size_t next = 0;
  for (; next < made.size(); ++next) {
    using when = request::inline_policy;
    const auto wish = made[next]->inline_io;
    if (wish == when::never) continue;
    if (wish == when::first && started < next && !hints_.has_hits_in_a_row(made[next]->iocb.fildes)) continue;
    started += start_by_engine(made.subspan(started, next - started));
    if (started < next) return started;
    if (answer(*made[next])) ++started;
  }
  return started + start_by_engine(made.subspan(started, next - started));
}

std::uint64_t kioctx::weight(std::span<request* const> made) noexcept {
  const auto files = std::ranges::count_if(made, [](const auto* each) { return each->ends_by_itself; });
  return made.size() + static_cast<std::uint64_t>(files) * files_unit;
}

void kioctx::count_signals_left(std::span<request* const> made) noexcept {
  const auto owed = std::ranges::count_if(made, [](const auto* each) { return owes_signal(*each); });
  if (owed > 0) signals_left_.fetch_add(static_cast<std::uint64_t>(owed), base::memory_order_seq_cst);
}

// For requests that were counted in, but not accepted.
void kioctx::count_out(std::span<request* const> made) noexcept {
  in_flight_.fetch_sub(weight(made), base::memory_order_relaxed);
  const auto owed = std::ranges::count_if(made, [](const auto* each) { return owes_signal(*each); });
  if (owed > 0) signals_left_.fetch_sub(static_cast<std::uint64_t>(owed), base::memory_order_seq_cst);
}

// Seq_cst, as the ending thread's accesses; see process_end.hpp.
// @return false if the process ends and takes no more requests.
bool kioctx::count_in(std::span<request* const> made) noexcept {
  const auto added = weight(made);
  for (;;) {
    count_signals_left(made);
    in_flight_.fetch_add(added, base::memory_order_seq_cst);
    if (added < files_unit || !submission_gate::is_closed()) return true;
    count_out(made);
    if (!submission_gate::wait_until_open()) return false;
  }
}

std::size_t kioctx::start_by_engine(std::span<request* const> made) noexcept {
  if (made.empty() || !count_in(made)) return 0;
  tell_taken(made);
  const auto started = engine_->start(made);
  if (engine_->replacements() != replacements_.load(base::memory_order_relaxed)) [[unlikely]]
    follow_engine();
  tell_given_back(made.subspan(started));
  // equivalent fault (comparison): no request has the weight 0
  if (started < made.size()) count_out(made.subspan(started));
  enlist(made.first(started));
  // Masked sleepers wait for the engine's descriptors, which do not announce all completions.
  // equivalent fault (dropped): masked sleepers that are woken without need look again, which costs time
  if (masked_.load(base::memory_order_seq_cst) > 0 && engine_->must_be_looked_at()) [[unlikely]]
    notify_masked_waiters();
  // start() itself completes a poll of a file that is ready, and a read of an empty pipe or socket with O_NONBLOCK.
  // Their events are in the ring when submit returns.
  if (engine_->has_finished_some()) reap_started(made.first(started));
  return started;
}

// @return whether the request was carried out inline, and so is complete.
bool kioctx::answer(request& made) noexcept {
  made.taken_at = now_if_watched();
  const auto res = transfer_inline(made, hints_);
  if (!res) return false;
  if (auto* const watcher = request_observer::current()) watcher->taken(made.iocb);
  made.answered = request_observer::answered_by::submit;
  request* const alone = &made;
  count_signals_left({&alone, 1});
  in_flight_.fetch_add(weight({&alone, 1}), base::memory_order_relaxed);
  completion done{&made, *res};
  complete({&done, 1}, fetched_by::this_thread);
  made.put();
  return true;
}

std::size_t kioctx::take_slots(std::size_t wanted) noexcept {
  const base::mutex_lock held{ring_lock_};
  std::size_t taken = 0;
  while (taken < wanted && ring_.take_slot()) ++taken;
  return taken;
}

void kioctx::publish_hot(std::span<const io_event> events, std::size_t slots_left) noexcept {
  const base::mutex_lock held{ring_lock_};
  for (const auto& each : events) ring_.publish(each);
  ring_.commit();
  for (; slots_left > 0; --slots_left) ring_.return_slot();
}

void kioctx::abandon(request& unstarted) noexcept {
  {
    const base::mutex_lock held{ring_lock_};
    ring_.return_slot();
  }
  unstarted.put();
  unstarted.put();
}

// The submitter's part after the start. A request that has completed meanwhile cannot be cancelled, and is not listed.
void kioctx::enlist(std::span<request* const> started) noexcept {
  {
    const base::mutex_lock held{active_lock_};
    for (auto* in_flight : started)
      if (!in_flight->completed) active_.push_back(*in_flight);
  }
  for (auto* in_flight : started) in_flight->put();
}

}  // namespace doorbell::aio
