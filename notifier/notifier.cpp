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
// what that one and HUP fight for: both test and clear it with one atomic operation, and whoever finds it set takes the
// entry off. They do so under the lock, because up to the moment when the count may be drained every signal calls.
// The share in the eventfd_ctx's memory belongs to `registered`, and goes when an unregister has been through the lock; so
// the loser has a lock to pass through though the eventfd be closed:
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
//
// A callback may unregister its own notifier, and runs on. So that there is a lock to pass through for those who come
// from outside meanwhile, the share stays, and the word says `left`, from the one step on that claims the registration:
//
//   registered|active --unregister in its own callback--> left --the callback has returned, or others pass the lock--> 0
//
//   callback                             another unregister, or the destructor
//   unregister(): left
//   takes the entry off                  finds `left`, makes it busy
//   runs on                              lock ... waits
//   returns: `left` is not there any more, so it is not ours to clear; unlock
//                                        release_share(); unlock; 0
//
//   forbidden: the other finds nothing registered, or busy, and returns at once; the caller would free what the callback uses.
#include <doorbell/notifier.hpp>

#include <exception>
#include <tuple>

namespace doorbell {
namespace {

constexpr std::uint32_t registered = 1;
constexpr std::uint32_t active = 2;
constexpr std::uint32_t busy = 4;         // in the hands of one register_with() or unregister()
constexpr std::uint32_t left = 8;         // unregistered by its own callback, which may still run
constexpr std::uint32_t generation = 16;  // and above: no two registrations one after the other have the same word

// No lock may be taken under the one that this thread holds.
bool would_deadlock(const eventfd_ctx* ctx) noexcept {
  return eventfd_ctx::in_callback() && ctx != nullptr && !ctx->in_own_callback();
}

template <class Outcome>
auto tell(const Outcome& outcome, std::error_code& ec) noexcept {
  if (outcome.error == std::errc{})
    ec.clear();
  else
    ec = std::make_error_code(outcome.error);
  return outcome.answer;
}

[[noreturn, gnu::cold]] void fail(std::errc error, const char* what) {
  throw std::system_error{std::make_error_code(error), what};
}

template <class Outcome>
auto tell(const Outcome& outcome, const char* what) {
  if (outcome.error != std::errc{}) [[unlikely]]
    fail(outcome.error, what);
  return outcome.answer;
}

}  // namespace

void notifier::start(const eventfd& bell) { tell(enter_queue(bell, sharing::every), "doorbell: notifier"); }

void notifier::start(const eventfd& bell, std::error_code& ec) noexcept { tell(enter_queue(bell, sharing::every), ec); }

// Nobody else registers or unregisters a notifier that is being destroyed, but its own callback may take it off just now: so
// this is claimed like an unregister.
notifier::~notifier() {
  if (!(state_.load(base::memory_order_acquire) & (registered | left))) return;
  switch (const auto made = begin_leaving()) {
    case claim::taken:
      pass_through_lock_at_end();
      break;
    case claim::nothing:
      wait_for_own_callback();
      break;
    case claim::by_callback:
    case claim::by_callback_after_hup: {
      // In its own release(), which may destroy it.
      auto& ctx = *ctx_.load(base::memory_order_relaxed);
      leave_in_callback(made == claim::by_callback, [](eventfd_ctx&) {});
      end_share_in_callback(ctx);
      break;
    }
    case claim::refused:
      // Else the entry would stay on a queue, or a callback run, and its memory go.
      std::terminate();
  }
}

bool notifier::register_with(const eventfd& bell, sharing how, std::error_code& ec) noexcept {
  return tell(try_register(bell, how), ec);
}

bool notifier::register_with(const eventfd& bell, sharing how) {
  return tell(try_register(bell, how), "doorbell: register_with");
}

inline notifier::outcome<bool> notifier::try_register(const eventfd& bell, sharing how) noexcept {
  std::uint32_t idle = 0;
  // Acquire pairs with the release that ended the registration before; or that left it, for ctx_.
  while (!state_.compare_exchange_strong(idle, busy, base::memory_order_acquire)) {
    if (idle != left) return {std::errc::device_or_resource_busy, false};
    if (would_deadlock(ctx_.load(base::memory_order_relaxed))) return {std::errc::resource_deadlock_would_occur, false};
    wait_for_own_callback();
    idle = 0;
  }
  const auto entered = enter_queue(bell, how);
  if (entered.error != std::errc{}) [[unlikely]]
    state_.store(0, base::memory_order_release);
  return entered;
}

// The active bit is set under the lock: whoever walks the queue finds entry and bit together. The count is read there
// too, and changes only under the lock from when we took it: a signal is in it, or will find the entry.
inline notifier::outcome<bool> notifier::enter_queue(const eventfd& bell, sharing how) noexcept {
  eventfd_ctx* const ctx = bell.unreferenced_context();
  if (ctx == nullptr) return {std::errc::bad_file_descriptor, false};
  if (would_deadlock(ctx)) return {std::errc::resource_deadlock_would_occur, false};
  const eventfd_ctx_lock held{*ctx};
  entry_.set_exclusive(how == sharing::exclusive);
  if (!ctx->attach(entry_)) return {std::errc::bad_file_descriptor, false};
  if (!ctx->in_own_callback()) calling_ = false;
  ctx_.store(ctx, base::memory_order_relaxed);
  // Release pairs with the acquire in begin_leaving(), for ctx_.
  generation_ += generation;
  state_.store(generation_ | registered | active, base::memory_order_release);
  return {std::errc{}, ctx->count_locked() > 0};
}

int notifier::on_wake(base::wait_entry& woken, unsigned events) noexcept {
  auto& self = static_cast<entry&>(woken).owner;
  if (events & POLLHUP) {
    self.on_hup();
    return 0;
  }
  if (!(events & POLLIN)) return 0;
  self.call(*self.ctx_.load(base::memory_order_relaxed));
  return 1;
}

void notifier::call(eventfd_ctx& ctx) noexcept {
  calling_ = true;
  signal_(ctx);
  calling_ = false;
  // Release pairs with the acquires of those who look next. From then on *this may be gone, and its share is ours to end.
  auto state = left;
  if (state_.load(base::memory_order_relaxed) == left &&
      state_.compare_exchange_strong(state, 0, base::memory_order_release, base::memory_order_relaxed))
    end_share_in_callback(ctx);
}

// The eventfd is not hung up, or just being so, and whoever does that puts the memory.
void notifier::end_share_in_callback(eventfd_ctx& ctx) noexcept {
  ctx.assert_held();
  std::ignore = ctx.release_share();
}

// Or lets it go on, if it is what calls us.
void notifier::wait_for_own_callback() noexcept {
  auto state = left;
  // Acquire also where it has just ended: our caller may free what it used.
  if (!state_.compare_exchange_strong(state, busy, base::memory_order_acquire)) return;
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  bool last = false;
  {
    const eventfd_ctx_lock held{ctx};
    last = ctx.release_share();
  }
  if (last) [[unlikely]]
    ctx.put();
  ctx_.store(nullptr, base::memory_order_relaxed);
  state_.store(0, base::memory_order_release);
}

inline bool notifier::clear_active() noexcept {
  return (state_.fetch_and(~active, base::memory_order_relaxed) & active) != 0;
}

void notifier::on_hup() noexcept {
  if (!clear_active()) return;
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  ctx.assert_held();
  ctx.detach(entry_);
  if (!release_ || !*release_) return;
  calling_ = true;
  (*release_)();
  // *this may be gone.
}

// Claims the registration; the active bit stays as it is. In a callback of another eventfd than that of this very
// registration it is refused: no lock may be taken there. Nor can it be where nothing is registered.
//
//   callback of eventfd A                others
//   reads the word: registered
//                                        unregister; ctx_ is none
//   ctx_ is none: nothing to refuse
//                                        register with B: the word is another, by its generation
//   fails to make it busy; looks again; ctx_ is B: refuses
//
//   forbidden: making it busy by what was so before; it would wait for B's lock under A's.
inline notifier::claim notifier::begin_leaving() noexcept {
  auto state = state_.load(base::memory_order_acquire);
  for (;;) {
    const auto* const ctx = ctx_.load(base::memory_order_relaxed);
    if ((state & (registered | left)) && would_deadlock(ctx)) return claim::refused;
    if (!(state & registered)) return claim::nothing;
    const bool is_calling = is_in_own_callback(ctx);
    const auto claimed = is_calling ? left : (state & ~registered) | busy;
    if (!state_.compare_exchange_weak(state, claimed, base::memory_order_acquire)) continue;
    if (!is_calling) return claim::taken;
    return state & active ? claim::by_callback : claim::by_callback_after_hup;
  }
}

// Whose queue's lock this thread holds, that one's notifiers do not change hands meanwhile, and calling_ may be read.
inline bool notifier::is_in_own_callback(const eventfd_ctx* ctx) const noexcept {
  return ctx != nullptr && ctx->in_own_callback() && calling_;
}

// The rest of an unregister whose claim says `left`, with the share. Others may wait for the lock already, which is the callback's.
template <class UnderLock>
inline decoupled notifier::leave_in_callback(bool is_on_queue, UnderLock under_lock) noexcept {
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  const eventfd_ctx_lock held{ctx};
  if (is_on_queue) ctx.detach(entry_);
  under_lock(ctx);
  return is_on_queue ? decoupled::by_us : decoupled::by_hup;
}

// Takes the entry off unless HUP has, and ends the share in the eventfd's memory. In between it calls `under_lock`.
// @return whether it has taken it off.
template <class UnderLock>
inline bool notifier::pass_through_lock(UnderLock under_lock) noexcept {
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  bool by_us = false;
  bool last = false;
  {
    const eventfd_ctx_lock held{ctx};
    by_us = clear_active();
    if (by_us) ctx.detach(entry_);
    under_lock(ctx);
    last = ctx.release_share();
  }
  // Not under the lock, which goes with the memory.
  if (last) [[unlikely]]
    ctx.put();
  return by_us;
}

// The same of what is being destroyed: nobody looks at the word after this, and nobody but HUP before, under the lock; so a look at
// the active bit is enough, and is an atomic operation less.
inline void notifier::pass_through_lock_at_end() noexcept {
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  bool last = false;
  {
    const eventfd_ctx_lock held{ctx};
    if (state_.load(base::memory_order_relaxed) & active) ctx.detach(entry_);
    last = ctx.release_share();
  }
  if (last) [[unlikely]]
    ctx.put();
}

inline decoupled notifier::end_leaving(bool by_us) noexcept {
  ctx_.store(nullptr, base::memory_order_relaxed);
  state_.store(0, base::memory_order_release);
  return by_us ? decoupled::by_us : decoupled::by_hup;
}

// Inside a callback it is our own, if any, that runs: it holds the lock.
inline notifier::outcome<decoupled> notifier::without_leaving(claim made) noexcept {
  if (made == claim::refused) return {std::errc::resource_deadlock_would_occur, decoupled::not_registered};
  if (!eventfd_ctx::in_callback()) wait_for_own_callback();
  return {std::errc{}, decoupled::not_registered};
}

template <class UnderLock>
inline notifier::outcome<decoupled> notifier::leave(UnderLock under_lock) noexcept {
  const auto made = begin_leaving();
  if (made == claim::taken) [[likely]]
    return {std::errc{}, end_leaving(pass_through_lock(under_lock))};
  if (made == claim::by_callback || made == claim::by_callback_after_hup)
    return {std::errc{}, leave_in_callback(made == claim::by_callback, under_lock)};
  return without_leaving(made);
}

inline notifier::outcome<decoupled> notifier::try_unregister() noexcept {
  return leave([](eventfd_ctx&) {});
}

notifier::outcome<decoupled> notifier::try_unregister_and_read(std::uint64_t& count) noexcept {
  count = 0;
  eventfd_ctx_ptr drained;
  const auto ended = leave([&](eventfd_ctx& ctx) {
    ctx.assert_held();
    if (ctx.take_locked(count)) drained = &ctx;
  });
  if (ended.answer == decoupled::not_registered) return ended;
  if (drained == nullptr) return {std::errc::resource_unavailable_try_again, ended.answer};
  drained->wake(POLLOUT);
  return ended;
}

decoupled notifier::unregister(std::error_code& ec) noexcept { return tell(try_unregister(), ec); }

decoupled notifier::unregister() { return tell(try_unregister(), "doorbell: unregister"); }

decoupled notifier::unregister_and_read(std::uint64_t& count, std::error_code& ec) noexcept {
  return tell(try_unregister_and_read(count), ec);
}

decoupled notifier::unregister_and_read(std::uint64_t& count) {
  return tell(try_unregister_and_read(count), "doorbell: unregister_and_read");
}

}  // namespace doorbell
