// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes that may sleep.
#include "sleeper.hpp"

#include <optional>

#include <doorbell/base/walk_scope.hpp>

#include "wait_limit.hpp"

namespace doorbell {

class eventfd_ctx::reader final : public sleeper {
 public:
  explicit reader(eventfd_ctx& ctx) noexcept : sleeper{ctx, POLLIN, POLLOUT} {}
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
  writer(eventfd_ctx& ctx, std::uint64_t n) noexcept : sleeper{ctx, POLLOUT, POLLIN}, n_{n} {}
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
  if (!hangs_up && !((events & self.waits_for_) && self.attempt())) return 0;
  self.ctx_.assert_held();
  self.ctx_.queue_.remove(self);
  self.finish(hangs_up ? hung_up : done);
  return 0;
}

// Release pairs with the acquire in finished(): the sleeper sees what attempt() has put into it.
void eventfd_ctx::sleeper::finish(std::uint32_t how) noexcept {
  const auto* address = &state_;
  state_.fetch_or(how, base::memory_order_release);
  base::futex_wake_one(address);
}

std::error_code eventfd_ctx::sleeper::sleep(const wait_limit& limit) noexcept {
#ifdef __cpp_lib_jthread
  auto nudge = [this]() noexcept { finish(nudged); };
  std::optional<std::stop_callback<decltype(nudge)>> on_stop;
  if (limit.stop != nullptr) on_stop.emplace(*limit.stop, nudge);
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

// Whoever takes the entry off the queue decides what becomes of it; `finish` comes after that, so it can be waited for
// without the lock, and the lock is only for those who want to give up.
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

// Once finished() has said so, or the lock was passed.
std::error_code eventfd_ctx::sleeper::outcome() const noexcept {
  const bool closed = (state_.load(base::memory_order_relaxed) & hung_up) != 0;
  return closed ? std::make_error_code(std::errc::bad_file_descriptor) : std::error_code{};
}

// Trying and going on the queue are one step under the lock, so a signal is either there for the try or finds the entry.
// Not inlined, so that the caller's fast path stays small. Inlined, g++ 14 would also warn of a dangling pointer: it
// sees that the queue stores the address of the caller's local variable, but not that the caller removes it before
// outcome().
[[gnu::noinline]] bool eventfd_ctx::run_or_enqueue(sleeper& operation) noexcept {
  const eventfd_ctx_lock held{*this};
  if (operation.attempt()) return true;
  queue_.add(operation);
  return false;
}

void eventfd_ctx::run(sleeper& operation, const wait_limit& limit, std::error_code& ec) noexcept {
  bool done = false;
  if (limit.may_sleep) {
    done = run_or_enqueue(operation);
    if (!done) ec = operation.sleep(limit);
  } else {
    const eventfd_ctx_lock held{*this};
    done = operation.attempt();
    if (!done) ec = std::make_error_code(std::errc::resource_unavailable_try_again);
  }
  if (!ec) wake(operation.announces());
}

std::uint64_t eventfd_ctx::read(const wait_limit& limit, std::error_code& ec) noexcept {
  std::uint64_t taken = 0;
  if (!limit.may_sleep) {
    taken = drain(ec);
    if (taken == 0 && !ec) ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return taken;
  }
  // Refused whether or not it would have to sleep this time: the mistake shows on the first run, not on the unlucky one.
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return 0;
  }
  if (lock_.try_take(semaphore_, taken) == base::counter_lock::take_result::taken) return taken;
  reader operation{*this};
  run(operation, limit, ec);
  return ec ? 0 : operation.taken();
}

void eventfd_ctx::write(std::uint64_t n, const wait_limit& limit, std::error_code& ec) noexcept {
  if (n == UINT64_MAX) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return;
  }
  writer operation{*this, n};
  if (in_callback()) {
    if (in_own_callback() && attempt_in_callback(operation)) return;
    const bool no_room = in_own_callback() && !limit.may_sleep;
    ec = std::make_error_code(no_room ? std::errc::resource_unavailable_try_again
                                      : std::errc::resource_deadlock_would_occur);
    return;
  }
  if (!lock_.try_add(n)) run(operation, limit, ec);
}

bool eventfd_ctx::attempt_in_callback(sleeper& operation) noexcept {
  if (!operation.attempt()) return false;
  wake(operation.announces());
  return true;
}

}  // namespace doorbell
