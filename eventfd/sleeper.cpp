// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes that may sleep.
#include "sleeper.hpp"

#include <memory>
#include <new>

#include <doorbell/base/walk_scope.hpp>

#include "wait_limit.hpp"

namespace doorbell {

class eventfd_ctx::reader final : public sleeper {
 public:
  explicit reader(eventfd_ctx& ctx) noexcept : sleeper{ctx, POLLIN | came_back} {}
  bool attempt() noexcept override {
    ctx_.assert_held();
    return ctx_.take_locked(taken_);
  }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }

 private:
  std::uint64_t taken_ = 0;
};

class eventfd_ctx::writer final : public sleeper {
 public:
  writer(eventfd_ctx& ctx, std::uint64_t n) noexcept : sleeper{ctx, POLLOUT}, n_{n} {}
  bool attempt() noexcept override {
    ctx_.assert_held();
    return ctx_.add_locked(n_);
  }

 private:
  const std::uint64_t n_;
};

int eventfd_ctx::sleeper::on_wake(wait_entry& entry, unsigned events) noexcept {
  auto& self = static_cast<sleeper&>(entry);
  const bool hangs_up = (events & POLLHUP) != 0;
  // equivalent fault (constant): only a negative answer counts for an entry that is not exclusive
  if (!hangs_up && !((events & self.waits_for_) && self.attempt())) return 0;
  self.ctx_.assert_held();
  self.ctx_.queue_.remove(self);
  self.finish(hangs_up ? hung_up : done);
  return 0;
}

// Release pairs with the acquire in finished(): the sleeping thread sees what attempt() has stored.
void eventfd_ctx::sleeper::finish(std::uint32_t how) noexcept {
  const auto* address = &state_;
  state_.fetch_or(how, base::memory_order_release);
  base::futex_wake_one(address);
}

std::error_code eventfd_ctx::sleeper::sleep(const wait_limit& limit) noexcept {
#ifdef __cpp_lib_jthread
  if (limit.stop != nullptr) on_stop_.emplace(*limit.stop, nudge{this});
#endif

  std::errc reason{};
  while (state_.load(base::memory_order_relaxed) == 0) {
    const auto result = base::futex_wait(state_, 0, limit.until);
    if (result == base::futex_result::timed_out) reason = std::errc::timed_out;
    if (result == base::futex_result::interrupted) reason = std::errc::interrupted;
    if (reason != std::errc{}) break;
  }
  if (reason == std::errc{}) reason = std::errc::operation_canceled;
  return give_up_unless_finished() ? std::make_error_code(reason) : outcome();
}

// The thread that removes the entry from the queue decides the outcome. A waker calls finish() after the removal, so
// the sleeping thread learns of it without the lock, and takes the lock only to give up.
bool eventfd_ctx::sleeper::give_up_unless_finished() noexcept {
  if (finished()) return false;
  const eventfd_ctx_lock held{ctx_};
  if (!linked()) return false;
  ctx_.queue_.remove(*this);
  return true;
}

bool eventfd_ctx::sleeper::finished() const noexcept {
  return (state_.load(base::memory_order_acquire) & (done | hung_up)) != 0;
}

// To be called after finished() has returned true, or after the lock was held with the entry off the queue.
std::error_code eventfd_ctx::sleeper::outcome() const noexcept {
  const bool closed = (state_.load(base::memory_order_relaxed) & hung_up) != 0;
  return closed ? std::make_error_code(std::errc::bad_file_descriptor) : std::error_code{};
}

thread_local constinit eventfd_ctx::sleeper::scope* eventfd_ctx::sleeper::scope::innermost = nullptr;

bool eventfd_ctx::sleeper::is_of_this_thread() const noexcept {
  for (const auto* each = scope::innermost; each != nullptr; each = each->outer_)
    if (&each->own_ == this) return true;
  return false;
}

void eventfd_ctx::sleeper::keep_own_in_child() noexcept {
  for (const auto* each = scope::innermost; each != nullptr; each = each->outer_)
    each->own_.process_ = base::process_generation();
}

// In a child for which no fork handlers ran, keep_own_in_child() has not been called. A sleeper with a stop callback
// stays in memory, since the child may use the stop token.
bool eventfd_ctx::sleeper::begin_in_child() noexcept {
  if (process_ == base::process_generation()) return true;
  if (is_of_this_thread()) {
    keep_own_in_child();
    return true;
  }
#ifdef __cpp_lib_jthread
  if (on_stop_) return false;
#endif
  delete this;
  return false;
}

// The attempt and the addition to the queue are one step under the lock, so either the attempt finds a signal's count,
// or the signal finds the entry.
bool eventfd_ctx::run_or_enqueue(sleeper& operation) noexcept {
  const eventfd_ctx_walk held{*this};
  if (operation.attempt()) return true;
  queue_.add(operation);
  return false;
}

std::error_code eventfd_ctx::run(sleeper& operation, const wait_limit& limit) noexcept {
  const sleeper::scope own{operation};
  return run_or_enqueue(operation) ? std::error_code{} : operation.sleep(limit);
}

std::uint64_t eventfd_ctx::read(const wait_limit& limit, std::error_code& ec) noexcept {
  std::uint64_t taken = 0;
  if (!limit.may_sleep) {
    taken = drain(ec);
    if (taken == 0 && !ec) ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return taken;
  }
  // Refused even if there is a count: so the mistake shows in the first run, and not only when the read would sleep.
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return 0;
  }
  if (lock_.try_take(semaphore_, taken) == base::counter_lock::take_result::taken) [[likely]]
    return taken;
  return read_or_sleep(limit, ec);
}

// Not inlined, so that a read that finds a count stays small.
[[gnu::noinline]] std::uint64_t eventfd_ctx::read_or_sleep(const wait_limit& limit, std::error_code& ec) noexcept {
  std::uint64_t taken = 0;
  {
    const eventfd_ctx_walk held{*this};
    if (take_locked(taken)) return taken;  // equivalent fault (dropped): run() takes it, with an allocation
  }
  const std::unique_ptr<reader> operation{new (std::nothrow) reader{*this}};
  if (operation == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return 0;
  }
  ec = run(*operation, limit);
  return ec ? 0 : operation->taken();
}

void eventfd_ctx::write(std::uint64_t n, const wait_limit& limit, std::error_code& ec) noexcept {
  if (n == UINT64_MAX) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return;
  }
  if (in_callback()) {
    if (in_own_callback() && add_in_callback(n)) return;
    const bool no_room = in_own_callback() && !limit.may_sleep;
    ec = std::make_error_code(no_room ? std::errc::resource_unavailable_try_again
                                      : std::errc::resource_deadlock_would_occur);
    return;
  }
  if (!lock_.try_add(n)) write_or_sleep(n, limit, ec);
}

// Not inlined, so that a write without waiters stays small.
[[gnu::noinline]] void eventfd_ctx::write_or_sleep(std::uint64_t n, const wait_limit& limit,
                                                   std::error_code& ec) noexcept {
  {
    const eventfd_ctx_walk held{*this};
    if (add_locked(n)) return;
  }
  if (!limit.may_sleep) {
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return;
  }
  const std::unique_ptr<writer> operation{new (std::nothrow) writer{*this, n}};
  if (operation == nullptr)
    ec = std::make_error_code(std::errc::not_enough_memory);
  else
    ec = run(*operation, limit);
}

bool eventfd_ctx::add_in_callback(std::uint64_t n) noexcept {
  assert_held();
  return add_locked(n);
}

}  // namespace doorbell
