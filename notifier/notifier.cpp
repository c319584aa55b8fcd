// SPDX-License-Identifier: Apache-2.0
//
// The life of a registration, as bits of one word:
//
//   0 --register--> busy --(lock held)--> registered|active --unregister--> busy|active --(lock held)--> busy --> 0
//                                               |                              |
//                                              HUP (lock held)                HUP (lock held)
//                                               v                              v
//                                          registered --------unregister-----> busy --(passed the lock)--> 0
//
// `registered` is what unregisters fight for: whoever turns it into `busy` answers for the registration. The active bit is
// what that one and HUP fight for: each clears it by one atomic operation that tells what was there, under the lock: up to
// the moment when the count may be drained, every signal calls.
// Whoever finds it set takes the entry off. The share in the eventfd_ctx's memory belongs to `registered`, and goes when
// an unregister has been through the lock; so the loser has a lock to pass through though the eventfd be closed:
//
//   unregister (loser)                   close
//                                        lock; clears active; removes the entry
//   lock ... waits                       release() runs
//                                        release() returns; unlock
//   lock; finds active clear
//   release_share(); unlock
//   returns by_hup
//
//   forbidden: returning while release() runs; the caller would free what it uses.
#include <doorbell/notifier.hpp>

#include <exception>

namespace doorbell {
namespace {

constexpr std::uint32_t registered = 1;
constexpr std::uint32_t active = 2;
constexpr std::uint32_t busy = 4;  // in the hands of one register_with() or unregister()

// No lock may be taken under the one that this thread holds.
bool would_deadlock(const eventfd_ctx* ctx) noexcept {
  return eventfd_ctx::in_callback() && ctx != nullptr && !ctx->in_own_callback();
}

}  // namespace

notifier::notifier(const eventfd& bell, signal_function signal, release_function release, std::error_code& ec) noexcept
    : notifier{std::move(signal), std::move(release)} {
  ec.clear();
  enter_queue(bell, sharing::every, ec);
}

notifier::notifier(const eventfd& bell, signal_function signal, release_function release)
    : notifier{std::move(signal), std::move(release)} {
  std::error_code ec;
  enter_queue(bell, sharing::every, ec);
  if (ec) throw std::system_error{ec, "doorbell: notifier"};
}

notifier::~notifier() {
  if (state_.load(base::memory_order_acquire) == 0) return;
  std::error_code ec;
  unregister(ec);
  if (ec) std::terminate();  // else the entry would stay on a queue and its memory go
}

bool notifier::register_with(const eventfd& bell, sharing how, std::error_code& ec) noexcept {
  ec.clear();
  std::uint32_t idle = 0;
  // Acquire pairs with the release that ended the registration before.
  if (!state_.compare_exchange_strong(idle, busy, base::memory_order_acquire, base::memory_order_relaxed)) {
    ec = std::make_error_code(std::errc::device_or_resource_busy);
    return false;
  }
  const bool ready = enter_queue(bell, how, ec);
  if (ec) state_.store(0, base::memory_order_release);
  return ready;
}

bool notifier::register_with(const eventfd& bell, sharing how) {
  std::error_code ec;
  const bool ready = register_with(bell, how, ec);
  if (ec) throw std::system_error{ec, "doorbell: register_with"};
  return ready;
}

// The active bit is set under the lock: whoever walks the queue finds entry and bit together. The count is read there
// too, and changes only under the lock from when we took it: a signal is in it, or will find the entry.
bool notifier::enter_queue(const eventfd& bell, sharing how, std::error_code& ec) noexcept {
  eventfd_ctx* const ctx = bell.unreferenced_context();
  if (would_deadlock(ctx)) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return false;
  }
  if (ctx != nullptr) {
    const eventfd_ctx_lock held{*ctx};
    entry_.set_exclusive(how == sharing::exclusive);
    if (ctx->attach(entry_)) {
      ctx_.store(ctx, base::memory_order_relaxed);
      // Release pairs with the acquire in begin_leaving(), for ctx_.
      state_.store(registered | active, base::memory_order_release);
      return ctx->count_locked() > 0;
    }
  }
  ec = std::make_error_code(std::errc::bad_file_descriptor);
  return false;
}

int notifier::on_wake(base::wait_entry& woken, unsigned events) noexcept {
  auto& self = static_cast<entry&>(woken).owner;
  if (events & POLLHUP) {
    self.on_hup();
    return 0;
  }
  if (!(events & POLLIN) || !(self.state_.load(base::memory_order_relaxed) & active)) return 0;
  self.signal_(*self.ctx_.load(base::memory_order_relaxed));
  return 1;
}

void notifier::on_hup() noexcept {
  if (!clear_active()) return;
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  ctx.assert_held();
  ctx.detach(entry_);
  if (release_) release_();
  // *this may be gone.
}

// Claims the registration; the active bit stays as it is.
bool notifier::begin_leaving() noexcept {
  auto state = state_.load(base::memory_order_acquire);
  while (state & registered) {
    const auto claimed = (state & active) | busy;
    if (state_.compare_exchange_weak(state, claimed, base::memory_order_acq_rel, base::memory_order_acquire))
      return true;
  }
  return false;
}

bool notifier::clear_active() noexcept { return (state_.fetch_and(~active, base::memory_order_acq_rel) & active) != 0; }

decoupled notifier::leave(std::uint64_t* count, std::error_code& ec) noexcept {
  ec.clear();
  if (would_deadlock(ctx_.load(base::memory_order_relaxed))) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return decoupled::not_registered;
  }
  if (!begin_leaving()) return decoupled::not_registered;

  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  bool won = false;
  bool last = false;
  eventfd_ctx_ptr drained;
  {
    const eventfd_ctx_lock held{ctx};
    won = clear_active();
    if (won) ctx.detach(entry_);
    if (count != nullptr && ctx.take_locked(*count)) drained = &ctx;
    last = ctx.release_share();
  }
  // Not under the lock, which goes with the memory.
  if (last) ctx.put();
  if (drained != nullptr) drained->wake(POLLOUT);
  if (count != nullptr && drained == nullptr) ec = std::make_error_code(std::errc::resource_unavailable_try_again);
  ctx_.store(nullptr, base::memory_order_relaxed);
  state_.store(0, base::memory_order_release);
  return won ? decoupled::by_us : decoupled::by_hup;
}

decoupled notifier::unregister(std::error_code& ec) noexcept { return leave(nullptr, ec); }

decoupled notifier::unregister() {
  std::error_code ec;
  const auto winner = unregister(ec);
  if (ec) throw std::system_error{ec, "doorbell: unregister"};
  return winner;
}

decoupled notifier::unregister_and_read(std::uint64_t& count, std::error_code& ec) noexcept {
  count = 0;
  return leave(&count, ec);
}

decoupled notifier::unregister_and_read(std::uint64_t& count) {
  std::error_code ec;
  const auto winner = unregister_and_read(count, ec);
  if (ec) throw std::system_error{ec, "doorbell: unregister_and_read"};
  return winner;
}

}  // namespace doorbell
