// SPDX-License-Identifier: Apache-2.0
//
// The count and the queue: signal, drain, poll, and the life of the files.
#include <doorbell/eventfd_ctx.hpp>

#include <doorbell/base/walk_scope.hpp>

namespace doorbell {
namespace {

std::uint64_t next_id() noexcept {
  static base::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, base::memory_order_relaxed) + 1;
}

constexpr std::uint64_t saturated_sum(std::uint64_t count, std::uint64_t n) noexcept {
  return n > UINT64_MAX - count ? UINT64_MAX : count + n;
}

}  // namespace

eventfd_ctx::eventfd_ctx(std::uint64_t count, bool semaphore, bool non_blocking) noexcept
    : lock_{count}, id_{next_id()}, semaphore_{semaphore}, non_blocking_{non_blocking} {}

unsigned eventfd_ctx::poll() const noexcept {
  const auto now = count();
  unsigned events = 0;
  if (now > 0) events |= POLLIN;
  if (now == UINT64_MAX) events |= POLLERR;
  if (now < UINT64_MAX - 1) events |= POLLOUT;
  return events;
}

// Slow because somebody waits, holds the lock, or the count has outgrown the word. In a callback nothing can be done now:
// another queue's lock must not be taken under ours, and our own walk is under way.
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
  base::walk_scope scope;
  const eventfd_ctx_lock held{*this};
  signal_locked(n);
}

void eventfd_ctx::signal_locked(std::uint64_t n) noexcept {
  lock_.set_value(saturated_sum(lock_.value(), n));
  queue_.walk(POLLIN, base::wait_queue::exclusive::one);
}

std::uint64_t eventfd_ctx::drain(std::error_code& ec) noexcept {
  ec.clear();
  if (in_callback() && !in_own_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return 0;
  }
  std::uint64_t taken = 0;
  if (lock_.try_take(semaphore_, taken) != base::counter_lock::take_result::must_lock) return taken;
  bool some = false;
  {
    const eventfd_ctx_lock held{*this};
    some = take_locked(taken);
  }
  if (some) wake(POLLOUT);
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
  lock_.set_value(count - taken);
  return taken > 0;
}

bool eventfd_ctx::add_locked(std::uint64_t n) noexcept {
  const auto count = lock_.value();
  if (n >= UINT64_MAX - count) return false;
  lock_.set_value(count + n);
  return true;
}

void eventfd_ctx::after_callback(void (*run)(void*, std::uint64_t) noexcept, void* object,
                                 std::uint64_t argument) noexcept {
  base::walk_scope::defer({run, object, argument});
}

void eventfd_ctx::wake(unsigned events) noexcept {
  if (in_callback()) {
    get();
    base::walk_scope::defer({[](void* object, std::uint64_t what) noexcept {
                               const eventfd_ctx_ptr ctx{static_cast<eventfd_ctx*>(object), false};
                               ctx->wake(static_cast<unsigned>(what));
                             },
                             this, events});
    return;
  }
  base::walk_scope scope;
  const eventfd_ctx_lock held{*this};
  queue_.walk(events, base::wait_queue::exclusive::one);
}

void eventfd_ctx::get_file() noexcept { files_.fetch_add(1, base::memory_order_relaxed); }

// Acquire-release: what every closer did before it closed is seen by the release functions that the last one calls.
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
    base::walk_scope scope;
    const eventfd_ctx_lock held{*this};
    queue_.walk(POLLHUP, base::wait_queue::exclusive::all);
    hung_up_ = true;
    last = shares_ == 0;
  }
  if (last) put();
}

}  // namespace doorbell
