// SPDX-License-Identifier: Apache-2.0
#include "engine_failover.hpp"

#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <tuple>

#include <doorbell/base/intrusive_ptr.hpp>

#include "../../io/transfer.hpp"
#include "../../request/operation.hpp"

namespace doorbell::aio {
namespace {

constexpr std::chrono::milliseconds look_every{1};
// Not a whole second: timers of whole seconds are common, and a signal whose handler runs between two sleeps does not
// end the wait.
constexpr std::chrono::milliseconds longest_sleep{1013};

bool is_for_ring(const request& asked) noexcept {
  const bool needs_no_thread = is_transfer(asked.iocb) && (asked.is_direct || is_read(asked.iocb));
  return asked.ends_by_itself && needs_no_thread && asked.target.eventfd == nullptr && !asked.is_left_to_kernel;
}

// io_uring completes a poll when its file has RDHUP, even if the poll does not ask for RDHUP. A socket that has RDHUP
// has IN and RDNORM, too, so only polls that ask for none of these complete too early. Other files have no RDHUP.
bool would_complete_too_early(const request& in_ring) noexcept {
  constexpr std::uint64_t comes_with_rdhup = POLLIN | POLLRDNORM | POLLRDHUP;
  return is_poll(in_ring.iocb) && (in_ring.iocb.buf & comes_with_rdhup) == 0 &&
         kind_of(in_ring.iocb.fildes) == file_kind::socket;
}

bool still_names_its_file(const request& asked) noexcept {
  struct stat status{};
  return ::fstat(asked.iocb.fildes, &status) == 0 && status.st_dev == asked.device && status.st_ino == asked.inode;
}

}  // namespace

std::string_view engine_failover::name() const noexcept {
  const auto* const others = threads();
  return others != nullptr && !ring_->works() ? others->name() : ring_->name();
}

// @return the engine_threads object, which is created on first use. Null: there is no memory for it.
engine_threads* engine_failover::stand_in() noexcept {
  if (auto* const others = threads()) return others;
  const base::mutex_lock held{lock_};
  if (made_ == nullptr) {
    std::error_code ec;
    made_ = engine_threads::make(ec, in_flight_);
    threads_.store(made_.get(), base::memory_order_release);
  }
  return made_.get();
}

std::size_t engine_failover::start(std::span<request* const> requests) noexcept {
  std::size_t started = 0;
  while (started < requests.size()) {
    const auto rest = requests.subspan(started);
    const bool has_choice = may_use_ring();
    const bool by_ring = has_choice && is_for_ring(*rest.front());
    const auto end = std::ranges::find_if(rest, [&](const auto* each) { return is_for_ring(*each) != by_ring; });
    const auto some = has_choice ? rest.first(static_cast<std::size_t>(end - rest.begin())) : rest;
    const auto taken = by_ring ? start_by_ring(some) : start_by_io_threads(some);
    started += taken;
    const bool has_lost_ring = by_ring && !ring_->works();
    if (taken == some.size() || has_lost_ring) continue;
    if (by_ring || !start_by_ring_instead(*some[taken])) break;
    ++started;
  }
  return started;
}

std::size_t engine_failover::start_by_ring(std::span<request* const> requests) noexcept {
  in_ring_.fetch_add(static_cast<std::uint32_t>(requests.size()), base::memory_order_seq_cst);
  const auto started = ring_->start(requests);
  if (started < requests.size())
    in_ring_.fetch_sub(static_cast<std::uint32_t>(requests.size() - started), base::memory_order_relaxed);
  if (started > 0) tell_sleeper(at_ring);
  return started;
}

// For a request that waits for something other than a disk, and that the I/O threads cannot take: no thread or memory
// is available, or its descriptor cannot be sent to them (that of an io_uring). Requests for files are not started
// here: if there is no I/O thread for one, the submitting thread carries it out.
bool engine_failover::start_by_ring_instead(request& refused) noexcept {
  if (refused.ends_by_itself || !ring_->works() || would_complete_too_early(refused)) return false;
  request* const one = &refused;
  return start_by_ring({&one, 1}) == 1;
}

std::size_t engine_failover::start_by_io_threads(std::span<request* const> requests) noexcept {
  auto* const others = stand_in();
  if (others == nullptr) return 0;
  const auto serial = others->eventfd_serial();
  if (is_polled() && !watch_io_threads()) return 0;
  for (auto* each : requests) each->is_with_threads.store(true, base::memory_order_relaxed);
  with_io_threads_.fetch_add(static_cast<std::uint32_t>(requests.size()), base::memory_order_seq_cst);
  const auto started = others->start(requests);
  if (started < requests.size())
    with_io_threads_.fetch_sub(static_cast<std::uint32_t>(requests.size() - started), base::memory_order_relaxed);
  for (auto* refused : requests.subspan(started)) refused->is_with_threads.store(false, base::memory_order_relaxed);
  watch_new_eventfd(*others, serial);
  if (started == 0) return 0;
  tell_sleeper(at_io_threads);
  return started;
}

void engine_failover::tell_sleeper(std::uint32_t where) noexcept {
  const auto place = place_.load(base::memory_order_seq_cst);
  // A sleeper at both must poll for completions that nothing announces, so it is woken.
  const bool must_look = where == at_io_threads && place == (at_ring | at_io_threads) && threads()->must_be_looked_at();
  if (place == nowhere || ((place & where) != 0 && !must_look) || !waiting()) return;
  if (where == at_io_threads)
    ring_->wake();
  else if (auto* const others = threads())
    others->wake();
}

bool engine_failover::has_watches(const engine_threads& others) const noexcept {
  const auto newest = others.eventfd_serial();
  return ring_->has_watch(newest) && ring_->is_watching_kept(newest);
}

// @return false: the ring's descriptor does not announce the completions of the I/O threads, because the ring has just
// stopped working, or because there is no eventfd to watch or the ring takes no entry now. In the latter two cases,
// must_be_looked_at() is true.
//
//   submitter                            another submitter
//   lock; is_watching()? no
//   takes the eventfd of the I/O threads
//   watch(): the ring reads it; unlock
//                                        lock; is_watching()? yes: returns
//
//   forbidden: both find no watch, and the program closes the eventfd meanwhile. The other submitter would exchange it
//              while the ring reads the old one, which the I/O threads signal no more.
bool engine_failover::watch_io_threads() const noexcept {
  const auto* const others = threads();
  if (others == nullptr || !ring_->works() || has_watches(*others)) return true;
  const base::mutex_lock held{watch_lock_};
  // Exact, because watch() runs only under this lock.
  bool is_watched = ring_->is_watching(others->eventfd_serial());
  if (!is_watched) {
    const auto completions = others->descriptor_for_reader();
    is_watched = completions.number >= 0 && ring_->watch(completions.number, completions.serial);
  }
  // The ring may keep older eventfds without reading them. It must read them again, even if no new one can be made.
  if (const auto newest = others->eventfd_serial(); !ring_->is_watching_kept(newest)) ring_->watch_kept(newest);
  return is_watched;
}

// If the ring takes no entry now, an event loop learns of the completions after the next start() or reap().
void engine_failover::watch_new_eventfd(const engine_threads& others, std::uint32_t serial_before) const noexcept {
  if (is_polled() && others.eventfd_serial() != serial_before) [[unlikely]]
    std::ignore = watch_io_threads();
}

engine::cancel_result engine_failover::cancel(request& started) noexcept {
  if (!started.is_with_threads.load(base::memory_order_relaxed)) return ring_->cancel(started);
  auto* const others = threads();
  const auto serial = others->eventfd_serial();
  const auto result = others->cancel(started);
  watch_new_eventfd(*others, serial);
  return result;
}

std::size_t engine_failover::reap(std::span<completion> completions) noexcept {
  std::size_t from_ring = 0;
  while (from_ring == 0) {
    const auto count = ring_->reap(completions);
    if (count == 0) break;
    in_ring_.fetch_sub(static_cast<std::uint32_t>(count), base::memory_order_relaxed);
    from_ring = restart_orphans(completions.first(count));
  }
  auto* const others = threads();
  if (others == nullptr) return from_ring;
  // If this fails while more requests are with the I/O threads, an event loop learns of their completions only after
  // the next start().
  if (is_polled()) std::ignore = watch_io_threads();
  if (from_ring == completions.size()) return from_ring;
  const auto serial = others->eventfd_serial();
  const auto from_io_threads = others->reap(completions.subspan(from_ring));
  watch_new_eventfd(*others, serial);
  if (from_io_threads > 0)
    with_io_threads_.fetch_sub(static_cast<std::uint32_t>(from_io_threads), base::memory_order_relaxed);
  return from_ring + from_io_threads;
}

// Restarts requests that ended with -ECANCELED or -EINTR although no thread has cancelled them. They have transferred
// nothing; otherwise their result would be the number of bytes. @return the number of remaining completions.
std::size_t engine_failover::restart_orphans(std::span<completion> from_ring) noexcept {
  const auto restarted = [this](const completion& each) {
    const bool has_ended = each.res == -ECANCELED || each.res == -EINTR;
    return has_ended && !each.done->cancelled.load(base::memory_order_seq_cst) && restart(*each.done);
  };
  const auto rest = std::remove_if(from_ring.begin(), from_ring.end(), restarted);
  return static_cast<std::size_t>(rest - from_ring.begin());
}

// The I/O threads are tried first: the thread that reaps the request may sleep elsewhere later, and a completion in the
// ring would interrupt that sleep (getter_habit.hpp).
// A cancel() between the end of the first start and this one finds no request in the engine, but has set `cancelled`
// before, so restart() cancels the request. If the engine refuses the cancellation now, destroy() cancels the request
// again.
bool engine_failover::restart(request& orphan) noexcept {
  if (!still_names_its_file(orphan)) return false;
  const base::intrusive_ptr<request> held{&orphan};
  request* const again = &orphan;
  if (start_by_io_threads({&again, 1}) == 0 && start_by_ring({&again, 1}) == 0) return false;
  if (orphan.cancelled.load(base::memory_order_seq_cst)) std::ignore = cancel(orphan);
  return true;
}

engine::file_io engine_failover::file_io_done() const noexcept {
  auto done = ring_->file_io_done();
  if (const auto* const others = threads()) done.carried_out += others->file_io_done().carried_out;
  return done;
}

std::uint32_t engine_failover::where_requests_are() const noexcept {
  return (in_ring_.load(base::memory_order_seq_cst) > 0 ? at_ring : nowhere) |
         (with_io_threads_.load(base::memory_order_seq_cst) > 0 ? at_io_threads : nowhere);
}

engine::wait_result engine_failover::wait(base::deadline until) noexcept {
  for (;;) {
    auto where = where_requests_are();
    if (where == nowhere) where = threads() == nullptr ? at_ring : at_io_threads;
    place_.store(where, base::memory_order_seq_cst);
    if ((where_requests_are() & ~where) != 0) continue;
    const auto result = sleep(where, until);
    place_.store(nowhere, base::memory_order_relaxed);
    return result;
  }
}

engine::wait_result engine_failover::sleep(std::uint32_t where, base::deadline until) noexcept {
  if (!ring_->works()) return wait_without_ring(until);
  auto* const others = threads();
  if (where == at_ring || others == nullptr) return ring_->wait(until);
  return where == at_io_threads ? sleep_at_io_threads(*others, until) : sleep_at_both(*others, until);
}

//   a sleeper at the I/O threads         publisher                            event loop
//                                        the event is in the context's ring
//                                        wakes the I/O threads' sleeper
//   wakes; has the event; sleeps there again
//                                        puts a wakeup into the ring
//                                                                             the descriptor is readable; reap():
//                                                                             the sleeper is not in the ring: takes
//                                                                             the wakeup
//
//   forbidden: the loop leaves the wakeup to the sleeper, which does not see it: the descriptor stays readable without
//              an event. And: the loop takes a wakeup that the sleeper still needs. A sleeper that is marked as
//              elsewhere sleeps at the I/O threads, where wake() wakes it, too; after that it looks for events before
//              it can sleep in the ring.
engine::wait_result engine_failover::sleep_at_io_threads(engine_threads& others, base::deadline until) noexcept {
  ring_->note_sleeper_elsewhere(true);
  const auto result = others.wait(until);
  ring_->note_sleeper_elsewhere(false);
  return result;
}

// EINTR means that a handler has run: the kernel restarts ppoll(2) after an interruption for which no handler has run.
engine::wait_result engine_failover::sleep_at_both(engine_threads& others, base::deadline until) noexcept {
  using clock = std::chrono::steady_clock;
  if (others.has_completions()) return wait_result::ready;
  const bool must_look = others.must_be_looked_at();
  if (is_polled() && has_watches(others) && !must_look) return ring_->wait(until);
  const auto both = descriptors();
  const bool is_announced = both[0] >= 0 && both[1] >= 0 && !must_look;
  const auto next_look = clock::now() + (is_announced ? longest_sleep : look_every);
  const bool is_last = until && *until <= next_look;
  const auto left = base::time_left(is_last ? *until : next_look);
  std::array<pollfd, 2> readable{pollfd{.fd = both[0], .events = POLLIN, .revents = 0},
                                 pollfd{.fd = both[1], .events = POLLIN, .revents = 0}};
  const int ready = ::ppoll(readable.data(), readable.size(), &left, nullptr);
  if (ready == 0 && is_last) return wait_result::timed_out;
  return ready < 0 && errno == EINTR ? wait_result::interrupted : wait_result::ready;
}

engine::wait_result engine_failover::wait_without_ring(base::deadline until) noexcept {
  auto* const others = threads();
  if (others == nullptr) return ring_->wait(until);
  if (others->has_completions()) return wait_result::ready;
  if (!ring_->has_requests()) return others->wait(until);
  const auto next_look = std::chrono::steady_clock::now() + look_every;
  if (until && *until <= next_look) return others->wait(until);
  const auto result = others->wait(next_look);
  return result == wait_result::timed_out ? wait_result::ready : result;
}

// A thread may sleep in either engine.
void engine_failover::wake() noexcept {
  if (auto* const others = threads()) others->wake();
  ring_->wake();
}

void engine_failover::abandon_in_child() noexcept {
  ring_->abandon_in_child();
  if (auto* const others = threads()) others->abandon_in_child();
}

int engine_failover::descriptor() const noexcept {
  is_polled_.store(true, base::memory_order_relaxed);
  const auto* const others = threads();
  std::ignore = watch_io_threads();
  // This call may be the first to detect that the ring is lost.
  const int of_ring = ring_->descriptor();
  return others != nullptr && of_ring < 0 ? others->descriptor() : of_ring;
}

std::array<int, 2> engine_failover::descriptors() const noexcept {
  const auto* const others = threads();
  const int of_ring = ring_->descriptor();  // may be the first call to detect that the ring is lost
  if (others == nullptr || (is_polled() && of_ring >= 0)) return {of_ring, -1};
  const int of_io_threads = others->descriptor();
  restore_reader(*others);
  io_threads_are_silent_.store(of_io_threads < 0, base::memory_order_relaxed);
  return of_ring < 0 ? std::array{of_io_threads, -1} : std::array{of_ring, of_io_threads};
}

//   a thread that sleeps at both         ignore_descriptors()
//   place_ = at_ring, at_io_threads      engine_threads ignores its descriptor
//   engine_threads' descriptor()         place_ is both ? -> engine_threads' descriptor()
//
//   forbidden: a thread sleeps at a descriptor that is ignored. Both functions of engine_threads take its lock.
void engine_failover::ignore_descriptors() noexcept {
  auto* const others = threads();
  if (others == nullptr || is_polled()) return;
  others->ignore_descriptors();
  restore_reader(*others);
  if (place_.load(base::memory_order_seq_cst) == (at_ring | at_io_threads)) std::ignore = others->descriptor();
}

//   a thread of the library              the program's first descriptor()
//   is_polled()? no
//                                        is_polled_ = true; the ring becomes the reader of the eventfd
//   engine_threads' descriptor(), or
//   ignore_descriptors(): no reader
//   is_polled()? the ring is the reader
//
//   forbidden: the ring reads the eventfd, and engine_threads does not know it: it would not replace a lost eventfd.
//              engine_threads' lock orders the two, so the library's thread sees is_polled_.
void engine_failover::restore_reader(const engine_threads& others) const noexcept {
  if (is_polled() && ring_->works()) std::ignore = others.descriptor_for_reader();
}

// The call of the ring may be the first to detect that the ring is lost.
void engine_failover::announce() noexcept {
  if (ring_->works()) ring_->announce();
  if (ring_->works()) return;
  if (auto* const others = threads()) others->announce();
}

bool engine_failover::must_be_looked_at() const noexcept {
  const bool has_lost_ring = !ring_->works();
  const auto* const others = threads();
  // Without an engine_threads object, no descriptor announces the completions of further requests.
  if (has_lost_ring && (others == nullptr || ring_->has_requests())) return true;
  if (others == nullptr) return false;
  const bool is_silent = is_polled() ? !has_lost_ring && !ring_->is_watching(others->eventfd_serial())
                                     : io_threads_are_silent_.load(base::memory_order_relaxed);
  return is_silent || others->must_be_looked_at();
}

}  // namespace doorbell::aio
