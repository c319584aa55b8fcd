// SPDX-License-Identifier: Apache-2.0
#include "engine_threads.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

#include "operation.hpp"
#include "transfer.hpp"

namespace doorbell::aio {
namespace {

unsigned events_of(const request& asked) noexcept {
  if (is_poll(asked.what)) return static_cast<unsigned>(asked.what.buf);
  return is_read(asked.what) ? POLLIN : POLLOUT;
}

// Files that have no readiness are ready for both; asked for neither, the kernel says that they cannot be polled.
std::int64_t poll_of_always_ready(const request& asked) noexcept {
  const auto events = events_of(asked) & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
  return events != 0 ? std::int64_t{events} : -EINVAL;
}

bool is_shortage(const std::error_code& error) noexcept {
  constexpr std::array shortages{EMFILE, ENFILE, ENOMEM, ENOSPC, EAGAIN};
  return std::ranges::find(shortages, error.value()) != shortages.end();
}

}  // namespace

std::unique_ptr<engine_threads> engine_threads::make(std::error_code& ec) noexcept {
  auto* const process = crew::process(ec);
  if (process == nullptr) return nullptr;
  std::unique_ptr<engine_threads> made{new (std::nothrow) engine_threads{*process}};
  if (made == nullptr) ec = std::make_error_code(std::errc::not_enough_memory);
  return made;
}

// Starting.

std::size_t engine_threads::start(std::span<request* const> requests) noexcept {
  std::size_t started = 0;
  while (started < requests.size() && start_one(*requests[started])) ++started;
  return started;
}

bool engine_threads::start_one(request& held) noexcept {
  if (is_poll(held.what)) return wait_for(held, false);
  if (is_transfer(held.what) && kind_of(held.what.fildes) != file_kind::store) return start_transfer(held);
  return give_to_worker(held);
}

bool engine_threads::start_transfer(request& held) noexcept {
  const auto tried = try_transfer(held, held.what.fildes);
  if (tried.result == attempt::outcome::done) {
    finish(held, tried.res);
    return true;
  }
  if (never_waits(held)) {
    finish(held, tried.result == attempt::outcome::not_ready ? -EAGAIN : -EOPNOTSUPP);
    return true;
  }
  return wait_for(held, tried.result == attempt::outcome::impossible);
}

// A request that was not started is not ours any more; one whose file epoll does not know goes another way.
bool engine_threads::wait_for(request& held, bool without_sleeping) noexcept {
  auto watched = own_descriptor(held, without_sleeping);
  const auto error = watched ? crew_.waits.add(*this, held, events_of(held), std::move(watched))
                             : std::error_code{errno, std::system_category()};
  if (!error) return true;
  if (is_shortage(error)) return false;
  if (error != std::errc::operation_not_permitted)
    finish(held, -error.value());
  else if (is_poll(held.what))
    finish(held, poll_of_always_ready(held));
  else
    return give_to_worker(held);
  return true;
}

bool engine_threads::give_to_worker(request& held) noexcept {
  const auto answer = crew_.workers.push(*this, held);
  if (answer == worker_pool::pushed::was_cancelled) finish(held, -ECANCELED);
  return answer != worker_pool::pushed::no_worker;
}

// Going on.

void engine_threads::ready(request& taken, unsigned events) noexcept {
  // The program has closed our descriptor, and perhaps uses its number.
  if (!taken.by_threads.watched.is_ours())
    finish(taken, -EBADF);
  else if (is_poll(taken.what))
    finish(taken, events);
  else
    try_again(taken);
}

void engine_threads::try_again(request& taken) noexcept {
  const auto tried = try_transfer(taken, taken.by_threads.watched.get());
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

void engine_threads::carry_out(request& taken) noexcept {
  if (taken.by_threads.watch != 0)
    transfer_if_ready(taken);
  else
    note_done(taken, aio::carry_out(taken, taken.what.fildes));
}

// From a file that cannot be tried without sleeping. It was ready; but whoever waits for the same may have been quicker. So
// it is looked at once more, and no other of ours comes in between.
void engine_threads::transfer_if_ready(request& taken) noexcept {
  const int fd = taken.by_threads.watched.get();
  if (!taken.by_threads.watched.is_ours()) return note_done(taken, -EBADF);
  const base::mutex_lock held{crew_.one_at_a_time};
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
  if (const auto error = crew_.waits.add_again(held, events_of(held))) finish(held, -error.value());
}

engine::cancel_result engine_threads::cancel(request& started) noexcept {
  if (started.by_threads.take()) {
    crew_.workers.remove(*this, started);
    finish(started, -ECANCELED);
  }
  return cancel_result::asked;
}

// Completing.

void engine_threads::finish(request& held, std::int64_t res) noexcept {
  if (held.by_threads.watch != 0) crew_.waits.remove(held);
  held.by_threads.res = res;
  complete(held);
}

// Whoever reaps the last completion may then destroy the engine: once the lock is released, only the word's address is used.
void engine_threads::complete(request& done) noexcept {
  const auto* const word = &word_;
  bool was_asleep = false;
  {
    const base::mutex_lock held{completion_lock_};
    completions_.push_back(done);
    was_asleep = tell(completions_bit);
    // After the bit, which reap() looks at without the lock: whoever hears of it here finds something.
    if (descriptor_.is_ours()) ::eventfd_write(descriptor_.get(), 1);
  }
  if (was_asleep) base::futex_wake_all(word);
}

// @return whether somebody sleeps on the word. Release pairs with the acquires in wait() and reap().
bool engine_threads::tell(std::uint32_t news) noexcept {
  return (word_.fetch_or(news, base::memory_order_acq_rel) & asleep_bit) != 0;
}

std::size_t engine_threads::reap(std::span<completion> completions) noexcept {
  if (!(word_.load(base::memory_order_acquire) & completions_bit)) return 0;
  const base::mutex_lock held{completion_lock_};
  std::size_t filled = 0;
  for (; filled < completions.size() && !completions_.empty(); ++filled) {
    auto& done = completions_.front();
    completions_.pop_front();
    completions[filled] = {&done, done.by_threads.res};
  }
  if (completions_.empty()) nothing_left();
  return filled;
}

void engine_threads::nothing_left() noexcept {
  word_.fetch_and(~completions_bit, base::memory_order_acq_rel);
  eventfd_t rung = 0;
  if (descriptor_.is_ours()) ::eventfd_read(descriptor_.get(), &rung);
}

// Waiting.

engine::wait_result engine_threads::wait(base::deadline until) noexcept {
  for (;;) {
    auto word = word_.load(base::memory_order_acquire);
    if (word & (completions_bit | woken_bit)) return wake_up(wait_result::ready);
    if (word == 0 && !word_.compare_exchange_strong(word, asleep_bit, base::memory_order_acq_rel)) continue;
    // A deadline, be it never, makes every signal handler interrupt the sleep, as io_getevents(2) has it.
    switch (base::futex_wait(word_, asleep_bit, until.value_or(std::chrono::steady_clock::time_point::max()))) {
      case base::futex_result::timed_out:
        return wake_up(wait_result::timed_out);
      case base::futex_result::interrupted:
        return wake_up(wait_result::interrupted);
      case base::futex_result::woken:
        break;
    }
  }
}

engine::wait_result engine_threads::wake_up(wait_result because) noexcept {
  word_.fetch_and(~(asleep_bit | woken_bit), base::memory_order_acq_rel);
  return because;
}

void engine_threads::wake() noexcept {
  if (tell(woken_bit)) base::futex_wake_all(&word_);
}

// Without the lock: who held it may not have been inherited.
void engine_threads::abandon_in_child() noexcept { descriptor_.reset(); }

int engine_threads::descriptor() const noexcept {
  const base::mutex_lock held{completion_lock_};
  if (!descriptor_.is_ours()) {
    const unsigned already = completions_.empty() ? 0 : 1;
    descriptor_ = base::private_fd{base::unique_fd{::eventfd(already, EFD_CLOEXEC | EFD_NONBLOCK)}};
  }
  return descriptor_.get();
}

}  // namespace doorbell::aio
