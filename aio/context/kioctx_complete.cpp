// SPDX-License-Identifier: Apache-2.0
//
// From a completion to an event in the ring, a count in an eventfd, and the wakeup of a waiter.
#include <doorbell/base/intrusive_ptr.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <tuple>

#include "../request/operation.hpp"
#include "../system/tsan_annotations.hpp"
#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

/// Merges the signals of a batch: n completions with the same eventfd signal it once, with the count n.
class signals_of_batch {
 public:
  void add(const completion_target& target) noexcept {
    if (target.eventfd == nullptr) return;
    for (auto& known : std::span{entries_}.first(size_)) {
      if (known.target->eventfd != target.eventfd) continue;
      ++known.times;
      return;
    }
    entries_[size_++] = {&target, 1};
  }
  void signal_all() noexcept {
    for (const auto& known : std::span{entries_}.first(size_)) known.target->signal(known.times);
  }

  static constexpr std::size_t capacity = 64;

 private:
  struct entry {
    const completion_target* target;
    std::uint64_t times;
  };
  std::array<entry, capacity> entries_;
  std::size_t size_ = 0;
};

// A cancelled poll reports 0, as the kernel's does; every other cancelled request reports -ECANCELED.
std::int64_t reported(const completion& done) noexcept {
  if (done.res != -ECANCELED && done.res != -EINTR) return done.res;
  return is_poll(done.done->iocb) ? 0 : -ECANCELED;
}

// The caller that submitted the request knows whether it passed an iocb or an iocb_abi.
iocb* obj_of(const request& done) noexcept { return static_cast<iocb*>(const_cast<iocb_abi*>(done.user_iocb)); }

}  // namespace

void kioctx::reap_all() noexcept {
  while (reap(fetched_by::this_thread)) {
  }
}

// reap() may also have taken an announcement of earlier events.
void kioctx::reap_all_for_others() noexcept {
  reap_all();
  announce();
}

// Stops when a thread comes to fetch events: that thread reaps the next completions itself, and need not wait until
// this one gets a processor.
void kioctx::reap_for_others() noexcept {
  while (!is_left_to_getters_.load(base::memory_order_relaxed) && reap(fetched_by::others)) {
  }
}

bool kioctx::reap(fetched_by whom) noexcept {
  std::array<completion, signals_of_batch::capacity> done;
  const auto count = engine_->reap(done);
  if (count > 0) complete(std::span{done}.first(count), whom);
  return count > 0;
}

// The program calls get_events() after submit(), so the descriptor need not announce the events of `started`. It must
// announce all other events in the ring: the engine's reap() may have fetched completions of other requests, or an
// announcement. If reap() has filled the array, the engine may have more completions, and reap() may have consumed the
// edge that announced them.
void kioctx::reap_started(std::span<request* const> started) noexcept {
  std::array<completion, signals_of_batch::capacity> done;
  const auto fetched = std::span{done}.first(engine_->reap(done));
  const auto is_own = [&](const completion& each) { return std::ranges::count(started, each.done) > 0; };
  const bool is_polled = is_polled_.load(base::memory_order_relaxed);
  const auto own = is_polled ? std::ranges::count_if(fetched, is_own) : 0;
  if (!fetched.empty()) complete(fetched, fetched_by::this_thread);
  if (is_polled && fetched.size() == done.size())
    engine_->announce();
  else
    announce(static_cast<std::size_t>(own));
}

// Order: the request leaves the list, then the event goes into the ring, then the eventfd is signalled, then the
// sleepers are woken. So a thread that is signalled finds the event, and no thread that has the event can cancel the
// request. If the kernel has signalled the eventfd already, the program fetches its events by calls, so the event may
// come later than the signal: this function runs in such a call, in destroy(), or in the reaper.
void kioctx::complete(std::span<completion> done, fetched_by whom) noexcept {
  count_out_files(done);
  tell_answered(done);
  delist(done);
  publish(done);
  if (whom == fetched_by::others) announce();
  signals_of_batch signals;
  for (const auto& each : done)
    if (!each.done->is_signalled_by_kernel) signals.add(each.done->target);
  signals.signal_all();
  const auto signalled = std::ranges::count_if(done, [](const auto& each) { return owes_signal(*each.done); });
  if (signalled > 0) signals_left_.fetch_sub(static_cast<std::uint64_t>(signalled), base::memory_order_seq_cst);
  let_go(done);
  in_flight_.fetch_sub(done.size(), base::memory_order_relaxed);
  notify_waiters();
}

//   the reaper's thread                  event loop at the descriptor
//   takes the completion from the engine
//                                        the descriptor is readable; get_events(): the engine has nothing, the ring
//                                        neither; the descriptor is not readable any more
//   the event is in the ring
//   announces
//                                        the descriptor is readable; get_events() returns the event
//
//   forbidden: announces before the event is in the ring: get_events() takes the announcement, and not the event.
//
// descriptor() sets is_polled_ before it looks into the ring. A thread that puts events into the ring does so before
// this function reads is_polled_. Both use ring_lock_, so one of the two announces the events that were in the ring
// when the program asked for the descriptor for the first time.
void kioctx::announce(std::size_t known) noexcept {
  if (!is_polled_.load(base::memory_order_relaxed)) return;
  {
    const base::mutex_lock held{ring_lock_};
    if (ring_.size() <= known) return;
  }
  engine_->announce();
}

// The lock: on_getevents() sees is_polled_, or has ignored the engine's descriptors before this asks for them. The
// first call also fetches completions that no descriptor announces, because the program had not polled before.
int kioctx::descriptor() noexcept {
  bool was_polled = false;
  {
    const base::mutex_lock held{reaper_work_lock_};
    was_polled = is_polled_.exchange(true, base::memory_order_relaxed);
  }
  const int number = engine_->descriptor();
  if (!was_polled) reap_all();
  announce();
  return number;
}

// Before the eventfds are signalled: a callback may wait for a thread that ends the process, and that thread waits for
// these requests.
void kioctx::count_out_files(std::span<const completion> done) noexcept {
  const auto files = std::ranges::count_if(done, [](const auto& each) { return each.done->ends_by_itself; });
  if (files > 0) in_flight_.fetch_sub(static_cast<std::uint64_t>(files) * files_unit, base::memory_order_seq_cst);
}

// in_flight_ may include requests of threads that are about to find submission_gate (process_end.hpp) closed; these
// count as left until the threads subtract them. The engine's count of requests that are carried out is read after
// in_flight_: it does not contain requests that have been subtracted from in_flight_ before, so no accepted request is
// missed.
kioctx::file_io kioctx::file_io_left() const noexcept {
  const auto files = in_flight_.load(base::memory_order_seq_cst) / files_unit;
  if (files > 0) {
    const auto done = engine_->file_io_done();
    if (const auto left = files - std::min(files, done.carried_out); left > 0)
      return {.left = left, .must_be_reaped = done.must_be_reaped};
  }
  const auto signals = signals_left_.load(base::memory_order_seq_cst);
  return {.left = signals, .must_be_reaped = signals > 0};
}

void kioctx::let_go(std::span<const completion> done) noexcept {
  std::array<void*, signals_of_batch::capacity> memory;
  std::size_t count = 0;
  for (const auto& each : done) {
    if (!each.done->references.put()) continue;
    if (void* const pools = request::end(*each.done)) memory[count++] = pools;
  }
  requests_.give_back(std::span{memory}.first(count));
}

void kioctx::tell_answered(std::span<const completion> done) const noexcept {
  auto* const watcher = request_observer::current();
  if (watcher == nullptr) return;
  const auto now = request_observer::clock::now();
  for (const auto& [one, res] : done)
    watcher->answered(one->iocb, reported({one, res}), one->answered, now - one->taken_at);
}

void kioctx::delist(std::span<const completion> done) noexcept {
  const base::mutex_lock held{active_lock_};
  for (const auto& each : done) {
    each.done->completed = true;
    if (each.done->is_linked()) active_.erase(active_.iterator_to(*each.done));
  }
}

void kioctx::publish(std::span<const completion> done) noexcept {
  const base::mutex_lock held{ring_lock_};
  for (const auto& each : done) ring_.publish({each.done->iocb.data, obj_of(*each.done), reported(each), 0});
  ring_.commit();
}

}  // namespace doorbell::aio
