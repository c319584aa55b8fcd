// SPDX-License-Identifier: Apache-2.0
#include "io_threads.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <new>
#include <tuple>
#include <utility>

#include <doorbell/base/background_thread.hpp>

#include "../../system/private_table.hpp"

namespace doorbell::aio {
namespace {

constexpr unsigned least_usual_workers = 4;
constexpr unsigned most_workers = 256;
constexpr std::chrono::seconds idle_time{5};
// A request that waits this long for a worker makes the pool grow. The time is longer than the delay of a worker that
// is ready to run on a busy processor.
constexpr int stall_time_ms = 50;
// Limited, because the program may close the wakeup eventfd.
constexpr int longest_sleep_ms = 1000;

constinit thread_local io_threads* own_io_threads = nullptr;

/// The process's current set of I/O threads. No constructor or destructor runs for it: it is valid as long as any
/// thread runs.
struct {
  base::mutex lock;
  io_threads* current DOORBELL_GUARDED_BY(lock) = nullptr;
  io_threads* inherited DOORBELL_GUARDED_BY(lock) = nullptr;
  unsigned made DOORBELL_GUARDED_BY(lock) = 0;
} constinit of_process;

void make_locked(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(of_process.lock) {
  if (of_process.current != nullptr) return;
  of_process.current = new (std::nothrow) io_threads{io_threads::process_limits(), ++of_process.made};
  if (of_process.current == nullptr)
    ec = std::make_error_code(std::errc::not_enough_memory);
  else
    of_process.current->inherited = std::exchange(of_process.inherited, nullptr);
}

}  // namespace

worker_pool::limits io_threads::process_limits() noexcept {
  const auto processors = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  return {.most_workers = most_workers,
          .idle_time = idle_time,
          .usual_workers = std::min(most_workers, std::max(least_usual_workers, 2 * processors)),
          .least_workers = 1};
}

base::intrusive_ptr<io_threads> io_threads::process(std::error_code& ec) noexcept {
  const base::mutex_lock held{of_process.lock};
  make_locked(ec);
  return of_process.current;
}

base::intrusive_ptr<io_threads> io_threads::replace(io_threads& lost, std::error_code& ec) noexcept {
  const base::mutex_lock held{of_process.lock};
  if (of_process.current == &lost) {
    of_process.current = nullptr;
    lost.retire();
    lost.put();
  }
  make_locked(ec);
  return of_process.current;
}

io_threads* io_threads::of_this_thread() noexcept { return own_io_threads; }

void io_threads::enlist_this_thread() noexcept {
  own_io_threads = this;
  note_private_table();
}

// Starting.

std::error_code io_threads::start() noexcept {
  // equivalent fault (dropped): state_, which the lock guards, has the same answer
  if (is_running_.load(base::memory_order_acquire)) return {};
  const base::mutex_lock held{start_lock_};
  while (state_ == state::starting) started_.wait(start_lock_);
  if (state_ == state::running) return {};
  auto error = channel.open();
  if (!error) error = wakeup.open();
  if (!error) {
    state_ = state::starting;
    get();
    error = base::start_background_thread(
        "doorbell-poller", [](void* self) noexcept { static_cast<io_threads*>(self)->run(); }, this);
    if (error) put();
  }
  if (!error) {
    while (state_ == state::starting) started_.wait(start_lock_);
    error = answer_;
  }
  if (error) {
    state_ = state::failed;
    channel.abandon();
    wakeup.abandon();
    return error;
  }
  channel.close_receiving_end();
  is_running_.store(true, base::memory_order_release);
  return {};
}

void io_threads::report(std::error_code answer) noexcept {
  const base::mutex_lock held{start_lock_};
  answer_ = answer;
  state_ = answer ? state::failed : state::running;
  started_.notify_all();
}

std::error_code io_threads::set_up() noexcept {
  const std::array kept{channel.receiving_end(), wakeup.number()};
  if (const auto error = enter_private_table(kept)) return error;
  if (!channel.has_receiving_end() || !wakeup.is_here()) return std::make_error_code(std::errc::not_connected);
  enlist_this_thread();
  if (const auto error = waits.open()) return error;
  return workers.create_first();
}

void io_threads::run() noexcept {
  const auto error = set_up();
  report(error);
  if (error) {
    put();
    return;
  }
  bool is_needed = true;
  while (is_needed) {
    waits.poll_once(workers.expects_stall() ? stall_time_ms : longest_sleep_ms);
    pins.sweep();
    workers.grow();
    is_needed =
        !is_retired_.load(base::memory_order_acquire) || !waits.is_empty() || !workers.is_idle() || pins.size() > 0;
  }
  workers.end();
  put();
}

void io_threads::retire() noexcept {
  is_retired_.store(true, base::memory_order_release);
  wakeup.wake();
}

// Workers.

std::error_code io_workers::create_counted() noexcept {
  const auto body = [](void* self) noexcept {
    auto* const pool = static_cast<io_workers*>(self);
    pool->of_.enlist_this_thread();
    pool->work();
  };
  const auto error = base::start_background_thread("doorbell-worker", body, this);
  if (error) discount_worker();
  return error;
}

std::error_code io_workers::create_first() noexcept {
  count_worker();
  return create_counted();
}

// The pool counts the worker as soon as this returns. create_counted() discounts it if no thread can be created, but
// the first worker stays.
std::error_code io_workers::start_worker() noexcept {
  wanted_.fetch_add(1, base::memory_order_relaxed);
  of_.wakeup.wake();
  return {};
}

void io_workers::expect_stall() noexcept {
  if (!expects_stall_.exchange(true, base::memory_order_relaxed)) of_.wakeup.wake();
}

void io_workers::create_wanted() noexcept {
  for (auto wanted = wanted_.exchange(0, base::memory_order_relaxed); wanted > 0; --wanted)
    std::ignore = create_counted();
}

// A push may set expects_stall_ just before this clears it. Then grow_if_stalled(), which takes the pool's lock, finds
// the request of that push, or a worker has taken it.
void io_workers::grow() noexcept {
  create_wanted();
  if (!expects_stall()) return;
  expects_stall_.store(false, base::memory_order_relaxed);
  if (grow_if_stalled()) expects_stall_.store(true, base::memory_order_relaxed);
  create_wanted();
}

// Forking. before_fork() locks, and one of the other two functions unlocks in the same thread. The pool's lock is not
// taken, because the child does not use the queues.

void io_threads::before_fork() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  of_process.lock.lock();
  if (of_process.current == nullptr) return;
  of_process.current->start_lock_.lock();
  of_process.current->waits.lock_for_fork();
  of_process.current->pins.lock_for_fork();
}

void io_threads::unlock_after_fork() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  pins.unlock_after_fork();
  waits.unlock_after_fork();
  start_lock_.unlock();
}

void io_threads::after_fork_in_parent() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  if (of_process.current != nullptr) of_process.current->unlock_after_fork();
  of_process.lock.unlock();
}

// The child inherits the parent's descriptors, and does not need them.
void io_threads::after_fork_in_child() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  if (auto* const parents = std::exchange(of_process.current, nullptr); parents != nullptr) {
    parents->unlock_after_fork();
    parents->channel.abandon();
    parents->wakeup.abandon();
    of_process.inherited = parents;
  }
  of_process.lock.unlock();
}

void io_threads::begin_anew() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  new (&of_process.lock) base::mutex;
  if (of_process.current != nullptr) of_process.inherited = std::exchange(of_process.current, nullptr);
}

}  // namespace doorbell::aio
