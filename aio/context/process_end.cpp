// SPDX-License-Identifier: Apache-2.0
#include "process_end.hpp"

#include <doorbell/aio_calls.hpp>
#include <doorbell/base/call_scope.hpp>
#include <doorbell/base/errno_kept.hpp>
#include <doorbell/base/futex.hpp>
#include <doorbell/eventfd_ctx.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "ioctx_table.hpp"
#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{1};

/// The process that has contexts. A child that has made none has another pid, even if it shares this memory.
base::atomic<pid_t> owner{0};

/// Waits for a short time: first yields, then sleeps longer in each round, up to 1 ms.
void rest(unsigned round) noexcept {
  constexpr unsigned yields = 16;
  constexpr std::chrono::microseconds shortest{50};
  constexpr std::chrono::microseconds longest{1000};
  if (round < yields)
    std::this_thread::yield();
  else
    std::this_thread::sleep_for(std::min(longest, shortest * (round - yields + 1)));
}

/// @return whether a context had to be reaped.
bool reap(kioctx* ctx) noexcept {
  if (ctx == nullptr) return false;
  const base::inside_of_call until_return;  // a file_io_pause in a signal handler that interrupts this must not reap
  const kioctx_user user{ctx};
  user->reap_all_for_others();
  return true;
}

void wait_for_file_io(pid_t self) noexcept {
  const bool may_hold_locks = base::inside_of_call::is_now() || eventfd_ctx::in_callback();
  std::uint64_t before = 0;
  auto give_up_at = clock::time_point::max();
  for (unsigned round = 0;; ++round) {
    const auto left = ioctx_table::process().file_io_left(self, !may_hold_locks);
    const bool has_reaped = reap(left.to_reap);
    if (left.requests == 0) return;
    if (may_hold_locks && left.requests != before) give_up_at = clock::now() + patience;
    if (may_hold_locks && clock::now() >= give_up_at) return;
    before = left.requests;
    if (!has_reaped || round > 0) rest(round);  // equivalent fault (dropped): without a rest it costs processor time
  }
}

void end_process() noexcept {
  file_io_pause until_the_end;
  until_the_end.keep();
}

// Registered before the program's handlers, because quick_exit(3) calls the handlers in reverse order, and those of the
// program may still do I/O.
[[gnu::constructor(101)]] void register_handler() noexcept { ::at_quick_exit(end_process); }

// Called after all functions that atexit(3) has registered and all destructors of static objects.
[[gnu::destructor(101)]] void end_by_exit() noexcept { end_process(); }

}  // namespace

base::atomic<std::uint32_t> submission_gate::closers_{0};
thread_local constinit bool submission_gate::is_closer_ = false;

// A callback runs while its thread keeps other threads from completing requests, so it must not wait for these
// requests: its submission is refused.
bool submission_gate::wait_until_open() noexcept {
  if (eventfd_ctx::in_callback()) return false;
  for (;;) {
    const auto closers = closers_.load(base::memory_order_seq_cst);
    if (closers == 0) return true;
    if (closers >= for_good) break;
    base::futex_wait(closers_, closers);
  }
  std::this_thread::sleep_for(patience);
  return false;
}

void submission_gate::close() noexcept { closers_.fetch_add(1, base::memory_order_seq_cst); }

void submission_gate::open() noexcept {
  closers_.fetch_sub(1, base::memory_order_seq_cst);
  base::futex_wake_all(&closers_);
}

void submission_gate::close_for_good() noexcept {
  closers_.fetch_or(for_good, base::memory_order_seq_cst);
  base::futex_wake_all(&closers_);
}

file_io_pause::file_io_pause() noexcept {
  const base::errno_kept around;
  const pid_t self = ::getpid();
  if (owner.load(base::memory_order_relaxed) != self) return;
  has_closed_ = true;
  was_closer_ = submission_gate::is_closer_;
  submission_gate::is_closer_ = true;
  submission_gate::close();
  wait_for_file_io(self);
}

file_io_pause::~file_io_pause() {
  const base::errno_kept around;
  if (!has_closed_) return;
  submission_gate::open();
  submission_gate::is_closer_ = was_closer_;
}

void file_io_pause::keep() noexcept {
  if (has_closed_) submission_gate::close_for_good();
  has_closed_ = false;
}

// A fork's child begins with an open gate, whatever another thread of the parent was doing.
void submission_gate::reset() noexcept { closers_.store(0, base::memory_order_relaxed); }

pid_t expect_process_end() noexcept {
  const pid_t self = ::getpid();
  auto before = owner.load(base::memory_order_relaxed);
  if (before != self && owner.compare_exchange_strong(before, self, base::memory_order_relaxed))
    submission_gate::reset();
  return self;
}

void finish_file_io() noexcept { const file_io_pause until_return; }

}  // namespace doorbell::aio
