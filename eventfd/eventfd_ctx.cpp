// SPDX-License-Identifier: Apache-2.0
//
// The count and the queue: signal, drain, poll, and the life of the files.
#include <doorbell/eventfd_ctx.hpp>

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <doorbell/base/errno_kept.hpp>
#include <doorbell/base/walk_scope.hpp>

#include "attachments.hpp"
#include "file_entry.hpp"
#include "forwarder.hpp"
#include "sleeper.hpp"

namespace doorbell {
namespace {

std::uint64_t next_id() noexcept {
  static base::atomic<std::uint64_t> last{0};
  // equivalent fault (constant): the numbers only need to differ
  return last.fetch_add(1, base::memory_order_relaxed) + 1;
}

}  // namespace

eventfd_ctx::eventfd_ctx(std::uint64_t count, bool semaphore, bool non_blocking) noexcept
    : lock_{count}, id_{next_id()}, semaphore_{semaphore}, non_blocking_{non_blocking} {}

// With this size or less, malloc(3) of glibc takes 80 bytes for one.
static_assert(sizeof(eventfd_ctx) <= 72);

// The last reference has been dropped: no other thread has the object, so the lock is not needed.
eventfd_ctx::~eventfd_ctx() { delete attached_; }

unsigned eventfd_ctx::poll() const noexcept {
  const auto now = count();
  unsigned events = 0;
  if (now > 0) events |= POLLIN;
  if (now == UINT64_MAX) events |= POLLERR;
  if (now < UINT64_MAX - 1) events |= POLLOUT;
  return events;
}

// Called when the queue has entries, a thread holds the lock, or the count has outgrown the word. In a callback the
// signal is deferred: another queue's lock must not be acquired under the callback's, and the callback's own queue is
// being walked.
void eventfd_ctx::signal_slow(std::uint64_t n) noexcept {
  if (in_callback()) {
    get();
    base::walk_scope::defer({[](void* object, std::uint64_t count) noexcept {
                               const eventfd_ctx_ptr ctx{static_cast<eventfd_ctx*>(object), false};
                               ctx->signal(count);
                             },
                             this, n});
    return;
  }
  const eventfd_ctx_walk held{*this};
  lock_.set_value(lock_.value() + std::min(n, room_locked()));
  notify_waiters_locked(POLLIN);
}

// Leaves room for counts that are on their way to a kernel eventfd, since they may return.
std::uint64_t eventfd_ctx::room_locked() const noexcept {
  const auto in_flight = attached_ != nullptr ? attached_->in_flight : 0;
  return UINT64_MAX - in_flight - lock_.value();
}

void eventfd_ctx::notify_waiters_locked(unsigned events) noexcept {
  if (in_own_callback())
    queue_.walk_again(events);
  else
    queue_.walk(events, base::wait_queue::exclusive::one);
}

std::uint64_t eventfd_ctx::drain(std::error_code& ec) noexcept {
  ec.clear();
  if (in_callback() && !in_own_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return 0;
  }
  std::uint64_t taken = 0;
  // equivalent fault (dropped): it is taken under the lock
  if (lock_.try_take(semaphore_, taken) != base::counter_lock::take_result::must_lock) return taken;
  const eventfd_ctx_walk held{*this};
  take_locked(taken);
  return taken;
}

std::uint64_t eventfd_ctx::drain() {
  std::error_code ec;
  const auto taken = drain(ec);
  if (ec) throw std::system_error{ec, "doorbell: drain"};
  return taken;
}

bool eventfd_ctx::take_locked(std::uint64_t& taken) noexcept {
  const auto count = lock_.value();
  taken = semaphore_ && count > 0 ? 1 : count;
  if (taken == 0) return false;
  lock_.set_value(count - taken);
  notify_waiters_locked(POLLOUT);
  return true;
}

bool eventfd_ctx::add_locked(std::uint64_t n) noexcept {
  if (n >= room_locked()) return false;
  lock_.set_value(lock_.value() + n);
  notify_waiters_locked(POLLIN);
  return true;
}

void eventfd_ctx::after_callback(void (*run)(void*, std::uint64_t) noexcept, void* object,
                                 std::uint64_t argument) noexcept {
  base::walk_scope::defer({run, object, argument});
}

// The counts that wait to be forwarded belong to the parent. They are removed first, so that a poll_fd() descriptor
// shows the child's count.
void eventfd_ctx::begin_in_child() noexcept {
  const base::errno_kept around;
  leave_waiting_to_parent();
  queue_.begin_in_child();
}

// The walk continues in the child, and holds the lock there. The analysis does not know that the lock is lock_.
void eventfd_ctx::keep_callback_in_child() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  lock_.keep_in_child();
  begin_in_child();
}

void eventfd_ctx::after_fork_in_child() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  static_assert(std::is_standard_layout_v<eventfd_ctx>);
  sleeper::keep_own_in_child();
  if (auto* const walked = base::wait_queue::walked_one()) {
    void* const its_ctx = reinterpret_cast<std::byte*>(walked) - offsetof(eventfd_ctx, queue_);
    static_cast<eventfd_ctx*>(its_ctx)->keep_callback_in_child();
  }
  file_entry::begin_all_in_child();
}

#ifndef DOORBELL_MODEL
void eventfd_ctx::expect_forks() noexcept { ::pthread_atfork(nullptr, nullptr, after_fork_in_child); }
#endif

void eventfd_ctx::get_file() noexcept { files_.fetch_add(1, base::memory_order_relaxed); }

// Acquire-release: the release functions that the last closer calls see what each closer did before it closed.
void eventfd_ctx::put_file() noexcept {
  if (files_.fetch_sub(1, base::memory_order_acq_rel) == 1) hang_up();
}

void eventfd_ctx::hang_up() noexcept {
  if (in_callback()) {
    base::walk_scope::defer(
        {[](void* object, std::uint64_t) noexcept { static_cast<eventfd_ctx*>(object)->hang_up(); }, this, 0});
    return;
  }
  bool last = false;
  {
    const eventfd_ctx_walk held{*this};
    queue_.walk(POLLHUP, base::wait_queue::exclusive::all);
    hung_up_ = true;
    last = shares_ == 0;
  }
  if (last) put();
}

}  // namespace doorbell
