// SPDX-License-Identifier: Apache-2.0
#include "engine_threads.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <new>
#include <thread>
#include <tuple>
#include <utility>

#include "../../io/transfer.hpp"
#include "../../request/operation.hpp"
#include "../../system/raw_calls.hpp"

namespace doorbell::aio {
namespace {

// A limit for programs that close descriptors continuously.
constexpr int most_lost_io_threads = 100;
constexpr std::chrono::milliseconds between_looks{1};
constexpr std::chrono::milliseconds longest_wait_for_room{10'000};

unsigned events_of(const request& asked) noexcept {
  if (is_poll(asked.iocb)) return static_cast<unsigned>(asked.iocb.buf);
  return is_read(asked.iocb) ? POLLIN : POLLOUT;
}

// Files that cannot be polled are always readable and writable. If a poll asks for neither, the kernel refuses it.
std::int64_t poll_of_always_ready(const request& asked) noexcept {
  const auto events = events_of(asked) & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
  return events != 0 ? std::int64_t{events} : -EINVAL;
}

// The number of the request's file in the I/O threads' table. Called in an I/O thread.
int number_of(const request& asked) noexcept { return asked.by_threads.with->pins.number(asked.by_threads.pinned); }

// Pipes and sockets can always be polled. Called in an I/O thread.
bool may_lack_readiness(const request& asked) noexcept {
  const auto kind = kind_of(number_of(asked));
  return kind != file_kind::pipe && kind != file_kind::socket;
}

// The events that a poll asks for and that are there now. The kernel also checks for them in io_submit(2).
unsigned ready_events(const request& asked) noexcept {
  pollfd one{.fd = asked.iocb.fildes, .events = static_cast<short>(events_of(asked)), .revents = 0};
  const bool is_ready = ::poll(&one, 1, 0) > 0 && (one.revents & POLLNVAL) == 0;
  return is_ready ? static_cast<unsigned short>(one.revents) : 0;
}

bool is_shortage(int error) noexcept {
  constexpr std::array shortages{EMFILE, ENFILE, ENOMEM, ENOSPC, EAGAIN};
  return std::ranges::find(shortages, error) != shortages.end();
}

void let_go_of_file(request& held) noexcept {
  auto& note = held.by_threads;
  if (note.pinned != 0) note.with->pins.unpin(std::exchange(note.pinned, 0));
}

}  // namespace

std::unique_ptr<engine_threads> engine_threads::make(std::error_code& ec, unsigned in_flight) noexcept {
  const auto process = io_threads::process(ec);
  if (process == nullptr) return nullptr;
  std::unique_ptr<engine_threads> made{new (std::nothrow) engine_threads{*process, in_flight}};
  if (made == nullptr) ec = std::make_error_code(std::errc::not_enough_memory);
  return made;
}

// When a context is destroyed, the files of its requests are closed: the other end of a pipe may wait for that.
engine_threads::~engine_threads() {
  io_threads_.load(base::memory_order_acquire)->pins.wait_until_swept();
  {
    const base::mutex_lock held{completion_lock_};
    for (auto* queue = queues_.load(base::memory_order_relaxed); queue != nullptr; queue = queue->older())
      queue->unpin_eventfd();
  }
  for (auto* queue = queues_.load(base::memory_order_acquire); queue != &first_queue_;)
    delete std::exchange(queue, queue->older());
}

// Starting.

std::size_t engine_threads::start(std::span<request* const> requests) noexcept {
  std::size_t started = 0;
  while (started < requests.size()) {
    const auto by_kernel = start_direct(requests.subspan(started));
    started += by_kernel;
    if (by_kernel > 0) continue;
    if (requests[started]->is_left_to_kernel) break;
    if (!start_one(*requests[started])) break;
    ++started;
  }
  return started;
}

// @return the number of started requests, from the first on. 0 if their completions must be announced and there is no
// descriptor.
std::size_t engine_threads::start_direct(std::span<request* const> requests) noexcept {
  if (!kernel_aio::can_take(*requests.front())) return 0;
  // Programs that use the calls by handle do not wait for the descriptor. A library thread that begins to wait for it
  // later checks must_be_looked_at().
  const bool must_notify = std::ranges::any_of(requests, [watched = is_watched()](const auto* each) {
    return !each->kernel_may_signal && (watched || !each->is_left_to_kernel || each->target.eventfd != nullptr);
  });
  const auto make_descriptor = [this] {
    const base::mutex_lock held{completion_lock_};
    const int number = descriptor_locked();
    if (number >= 0) direct_.arm(number);
    return number;
  };
  const int descriptor = must_notify || !direct_.is_armed() ? make_descriptor() : -1;
  if (must_notify && descriptor < 0) return 0;
  const auto started = direct_.start(requests, must_notify ? descriptor : -1);
  if (started == 0) return 0;
  const auto word = word_.load(base::memory_order_seq_cst);
  if ((word & asleep_bit) != 0 && (word & in_kernel_bit) == 0) wake();
  return started;
}

bool engine_threads::start_one(request& held) noexcept {
  if (is_poll(held.iocb)) return start_poll(held);
  if (is_transfer(held.iocb) && kind_of(held.iocb.fildes) != file_kind::store) return start_transfer(held);
  return give_to_worker(held);
}

bool engine_threads::start_poll(request& held) noexcept {
  if (const auto events = ready_events(held); events != 0) {
    finish(held, events);
    return true;
  }
  return wait_for(held);
}

bool engine_threads::start_transfer(request& held) noexcept {
  const auto tried = try_transfer(held, held.iocb.fildes);
  if (tried.result == attempt::outcome::done) {
    finish(held, tried.res);
    return true;
  }
  if (never_waits(held)) {
    finish(held, tried.result == attempt::outcome::not_ready ? -EAGAIN : -EOPNOTSUPP);
    return true;
  }
  held.by_threads.needs_reopening =
      tried.result == attempt::outcome::impossible && can_be_opened_again(held.iocb.fildes);
  return wait_for(held);
}

// If the program has closed the I/O threads' descriptors, this tries the process's next set of I/O threads.
//
//   submitter A                          submitter B
//   tried = set 1; not connected         tried = set 1; not connected
//   replace(set 1): set 2
//                                        replace(set 1): set 2 already
//
//   forbidden: B replaces set 2. B names the set that it has tried, not the set that io_threads_ names by then.
//
// Set 2 may be lost, too, without any thread having noticed. So this is a loop.
std::error_code engine_threads::pin(request& held, file_pins::sharing share) noexcept {
  auto* tried = io_threads_.load(base::memory_order_acquire);
  auto ec = pin_with(*tried, held, share);
  for (int lost = 1; ec == std::errc::not_connected && lost <= most_lost_io_threads; ++lost) {
    ec.clear();
    const auto next = io_threads::replace(*tried, ec);
    if (next == nullptr) return ec;
    tried = change_to(*next, ec);
    if (ec) return ec;
    ec = pin_with(*tried, held, share);
  }
  return ec;
}

engine_threads::io_threads_queue* engine_threads::find_queue(const io_threads& with) const noexcept {
  auto* queue = queues_.load(base::memory_order_acquire);
  while (queue != nullptr && !queue->is_of(with)) queue = queue->older();
  return queue;
}

engine_threads::io_threads_queue& engine_threads::queue_in(const io_threads& with) const noexcept {
  auto* queue = queues_.load(base::memory_order_acquire);
  while (!queue->is_of(with)) queue = queue->older();
  return *queue;
}

bool engine_threads::has_pinned_requests() const noexcept {
  const auto* queue = queues_.load(base::memory_order_acquire);
  while (queue != nullptr && queue->requests.load(base::memory_order_seq_cst) == 0) queue = queue->older();
  return queue != nullptr;
}

bool engine_threads::has_requests_in_lost_io_threads() const noexcept {
  const auto* const now = io_threads_.load(base::memory_order_acquire);
  const auto* queue = queues_.load(base::memory_order_acquire);
  while (queue != nullptr && (queue->is_of(*now) || queue->requests.load(base::memory_order_seq_cst) == 0))
    queue = queue->older();
  return queue != nullptr;
}

io_threads* engine_threads::change_to(io_threads& next, std::error_code& ec) noexcept {
  has_lost_io_threads_.store(true, base::memory_order_seq_cst);
  const base::mutex_lock locked{completion_lock_};
  auto* const newest = io_threads_.load(base::memory_order_relaxed);
  if (next.serial < newest->serial) return newest;
  if (find_queue(next) == nullptr) {
    auto* const made = new (std::nothrow) io_threads_queue{*this, next, queues_.load(base::memory_order_relaxed)};
    if (made == nullptr) {
      ec = std::make_error_code(std::errc::not_enough_memory);
      return newest;
    }
    queues_.store(made, base::memory_order_release);
  }
  if (is_watched()) {
    if (has_reader_) renew_descriptor_if_lost();
    if (!has_current_pin(queue_in(next))) std::ignore = pin_descriptor(next);
  }
  io_threads_.store(&next, base::memory_order_seq_cst);
  unpin_from_unused_io_threads();
  return &next;
}

// Called under completion_lock_ by a thread that has changed io_threads_, and when requests have been reaped.
void engine_threads::unpin_from_unused_io_threads() const noexcept {
  const auto* const now = io_threads_.load(base::memory_order_relaxed);
  for (auto* queue = queues_.load(base::memory_order_relaxed); queue != nullptr; queue = queue->older())
    if (!queue->is_of(*now) && queue->requests.load(base::memory_order_seq_cst) == 0) queue->unpin_eventfd();
}

std::error_code engine_threads::pin_with(io_threads& which, request& held, file_pins::sharing share) noexcept {
  auto ec = which.start();
  if (ec) return ec;
  bool is_lost = false;
  if (io_threads_lack_descriptor_.load(base::memory_order_relaxed)) [[unlikely]] {
    const base::mutex_lock locked{completion_lock_};
    is_lost = pin_descriptor(which) == std::errc::not_connected;
  }
  auto& requests = queue_in(which).requests;
  requests.fetch_add(1, base::memory_order_seq_cst);
  is_lost = is_lost || io_threads_.load(base::memory_order_seq_cst) != &which;
  if (is_lost) ec = std::make_error_code(std::errc::not_connected);
  const auto pinned = is_lost ? 0 : which.pins.pin(held.iocb.fildes, share, ec);
  if (ec) {
    requests.fetch_sub(1, base::memory_order_relaxed);
    return ec;
  }
  held.by_threads.with = &which;
  held.by_threads.pinned = pinned;
  return {};
}

// @return false: the request is not started, and is the caller's.
bool engine_threads::wait_for(request& held) noexcept {
  if (const auto error = pin(held, file_pins::sharing::own)) {
    if (error != std::errc::bad_file_descriptor) return false;
    finish(held, -EBADF);
    return true;
  }
  const auto error = held.by_threads.with->waits.add(*this, held, events_of(held));
  if (!error) return true;
  if (error == std::errc::operation_canceled) {
    finish(held, -ECANCELED);
    return true;
  }
  let_go_of_file(held);
  has_left_io_threads(held);
  return false;
}

// If the request cannot be passed to the I/O threads (except for EBADF), carries it out inline, so that it does not
// fail for lack of a thread, memory or descriptors: the kernel's AIO would need none of the process's.
bool engine_threads::give_to_worker(request& held) noexcept {
  auto& note = held.by_threads;
  // The write fails, and the submitting thread must get SIGXFSZ. A worker has all signals blocked.
  if (held.ends_by_itself && note.pinned == 0 && starts_beyond_size_limit(held)) {
    carry_out_inline(held);
    return true;
  }
  if (note.pinned == 0) {
    const bool may_share = is_transfer(held.iocb);
    if (const auto error = pin(held, may_share ? file_pins::sharing::allowed : file_pins::sharing::own)) {
      if (error == std::errc::bad_file_descriptor)
        finish(held, -EBADF);
      else
        carry_out_inline(held);
      return true;
    }
  }
  if (note.with->workers.push(queue_of(held), held) == worker_pool::pushed::was_cancelled) finish(held, -ECANCELED);
  return true;
}

void engine_threads::carry_out_inline(request& held) noexcept { finish(held, aio::carry_out(held, held.iocb.fildes)); }

// Continuing, in the I/O threads.

void engine_threads::ready(request& taken, unsigned events) noexcept {
  if (is_poll(taken.iocb))
    finish(taken, events);
  else
    try_again(taken);
}

void engine_threads::refused(request& taken, int error) noexcept {
  // EPERM for a pipe or a socket has another reason, for example a sandbox. A worker would wait for the file, and could
  // not be stopped.
  if (error != EPERM || !may_lack_readiness(taken))
    finish(taken, is_shortage(error) ? -EAGAIN : -error);
  else if (is_poll(taken.iocb))
    finish(taken, poll_of_always_ready(taken));
  else if (!give_to_worker(taken))
    finish(taken, -EAGAIN);
}

void engine_threads::try_again(request& taken) noexcept {
  const auto tried = try_transfer(taken, number_of(taken));
  switch (tried.result) {
    case attempt::outcome::done:
      finish(taken, tried.res);
      break;
    case attempt::outcome::not_ready:
      wait_again(taken);
      break;
    case attempt::outcome::impossible:
      if (!give_to_worker(taken)) finish(taken, -EAGAIN);
      break;
  }
}

// RLIMIT_NOFILE may be lower than it was when the file was sent. The I/O threads' table has a free number again when
// other requests complete, or when the program raises the limit.
void engine_threads::carry_out(request& taken) noexcept {
  int fd = number_of(taken);
  constexpr auto none = std::chrono::milliseconds::zero();
  for (auto left = longest_wait_for_room; fd == file_pins::no_room && left > none; left -= between_looks) {
    std::this_thread::sleep_for(between_looks);
    fd = number_of(taken);
  }
  if (fd < 0)
    note_done(taken, -EAGAIN);
  else if (taken.by_threads.watch != 0)
    transfer_if_ready(taken, fd);
  else
    note_done(taken, aio::carry_out(taken, fd));
}

// For a file that cannot be tried without sleeping. The file was ready, but another reader may have taken the data. So
// the worker polls it once more, and holds a lock so that no other request of the I/O threads takes the data between
// the poll and the transfer.
void engine_threads::transfer_if_ready(request& taken, int fd) noexcept {
  const base::mutex_lock held{taken.by_threads.with->transfer_mutex};
  if (is_ready(fd, static_cast<short>(events_of(taken)))) note_done(taken, aio::carry_out(taken, fd));
}

void engine_threads::note_done(request& taken, std::int64_t res) noexcept {
  taken.by_threads.is_done = true;
  taken.by_threads.res = res;
}

void engine_threads::conclude(request& carried_out) noexcept {
  if (carried_out.by_threads.is_done)
    finish(carried_out, carried_out.by_threads.res);
  else
    wait_again(carried_out);
}

void engine_threads::wait_again(request& held) noexcept {
  const auto error = held.by_threads.with->waits.add_again(held, events_of(held));
  if (error) finish(held, error == std::errc::operation_canceled ? -ECANCELED : -EAGAIN);
}

engine::cancel_result engine_threads::cancel(request& started) noexcept {
  if (started.by_threads.take()) {
    started.by_threads.with->workers.remove(queue_of(started), started);
    finish(started, -ECANCELED);
  }
  return cancel_result::asked;
}

// Completing.

void engine_threads::finish(request& held, std::int64_t res) noexcept {
  // Before any lock is taken: an ending process may wait for this count in a signal handler that has interrupted the
  // holder of the lock.
  if (held.ends_by_itself) files_done_.fetch_add(1, base::memory_order_seq_cst);
  if (held.by_threads.watch != 0) held.by_threads.with->waits.remove(held);
  let_go_of_file(held);
  held.by_threads.res = res;
  complete(held);
}

}  // namespace doorbell::aio
