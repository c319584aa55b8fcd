// SPDX-License-Identifier: Apache-2.0
//
// The life of a registration, as bits of one word:
//
//   0 --register--> busy --(lock held)--> registered|active --unregister--> leaving|active --(lock held)--> leaving --> 0
//                                               |                              |
//                                              HUP (lock held)                HUP (lock held)
//                                               v                              v
//                                          registered --------unregister-----> leaving --(passed the lock)--> 0
//
// `registered` is what unregisters fight for: whoever turns it into `leaving` answers for the registration. The active bit is
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
//
// Who finds the word `leaving` has nothing to take off, but a callback may run still, and no lock to pass through, because the
// share is another's. It sets `awaited` and sleeps on the word, until that other one is through:
//
//   one unregister                       another                          callback
//   leaving                                                               runs
//   lock ... waits                       leaving|awaited; sleeps
//                                                                         returns; unlock
//   lock; takes the entry off; unlock
//   0; it was awaited: wakes
//                                        returns not_registered
//
//   forbidden: the other returns while the callback runs; it was told that none would.
//
// Only a callback of the same eventfd cannot sleep: the lock that the one waits for is its own. It takes the entry off itself,
// answers for it, and leaves word that it did (`taken_over`): the one that waits is told not_registered then.
#include <doorbell/notifier.hpp>

#include <exception>
#include <tuple>

#include <doorbell/base/call_scope.hpp>
#include <doorbell/base/futex.hpp>

namespace doorbell {
namespace {

constexpr std::uint32_t registered = 1;
constexpr std::uint32_t active = 2;
constexpr std::uint32_t busy = 4;          // in the hands of one register_with()
constexpr std::uint32_t leaving = 8;       // in the hands of one that passes through the lock before it is over
constexpr std::uint32_t awaited = 16;      // somebody sleeps until `leaving` is over
constexpr std::uint32_t taken_over = 32;   // `leaving`, but a callback has taken the entry off
constexpr std::uint32_t left = 64;         // unregistered by its own callback, which may still run
constexpr std::uint32_t generation = 128;  // and above: no two registrations one after the other have the same word

// No lock may be taken under the one that this thread holds.
bool would_deadlock(const eventfd_ctx* ctx) noexcept {
  return eventfd_ctx::in_callback() && ctx != nullptr && !ctx->in_own_callback();
}

// Why no registration with it can be begun, if there is a reason.
std::errc refusal(const eventfd_ctx* ctx) noexcept {
  if (ctx == nullptr) return std::errc::bad_file_descriptor;
  if (would_deadlock(ctx)) return std::errc::resource_deadlock_would_occur;
  return {};
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
      wait_until_over();
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
    if (!(idle & left)) return {std::errc::device_or_resource_busy, false};
    if (would_deadlock(ctx_.load(base::memory_order_relaxed))) return {std::errc::resource_deadlock_would_occur, false};
    // In its own callback, too: what is refused leaves the word as it is, for others have that callback to wait for.
    if (const auto why = refusal(bell.unreferenced_context()); why != std::errc{}) return {why, false};
    wait_until_over();
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
  if (const auto why = refusal(ctx); why != std::errc{}) return {why, false};
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

template <class Function>
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

template DOORBELL_EXPORT int notifier::on_wake<notifier::signal_function>(base::wait_entry& woken,
                                                                          unsigned events) noexcept;

void notifier::call(eventfd_ctx& ctx) noexcept {
  calling_ = true;
  {
    const base::outside_of_call here;
    signal_(ctx);
  }
  calling_ = false;
  // Release pairs with the acquires of those who look next. From then on *this may be gone, and its share is ours to end.
  auto state = state_.load(base::memory_order_relaxed);
  if (state & left && state_.compare_exchange_strong(state, 0, base::memory_order_release, base::memory_order_relaxed))
    end_share_in_callback(ctx);
}

// The eventfd is not hung up, or just being so, and whoever does that puts the memory.
void notifier::end_share_in_callback(eventfd_ctx& ctx) noexcept {
  ctx.assert_held();
  std::ignore = ctx.release_share();
}

// Until the registration that has ended, or that another unregister is about to end, calls no more. A callback of this very
// notifier goes on, if it is what calls us: it has the lock that another waits for, so it does not sleep.
void notifier::wait_until_over() noexcept {
  // Acquire also where it is over: our caller may free what the callback used.
  auto state = state_.load(base::memory_order_acquire);
  const auto which = state / generation;
  while (state & (left | leaving) && state / generation == which) {
    if (state & leaving) {
      if (eventfd_ctx::in_callback()) return;
      sleep_while_leaving(state);
    } else if (state_.compare_exchange_strong(state, (state & ~left) | leaving, base::memory_order_acquire)) {
      pass_through_lock([](eventfd_ctx&) {});
      end_leaving();
      return;
    }
  }
}

// @param[in,out] state the word as it was, and as it is then.
void notifier::sleep_while_leaving(std::uint32_t& state) noexcept {
  if (!(state & awaited) && !state_.compare_exchange_strong(state, state | awaited, base::memory_order_acquire)) return;
  base::futex_wait(state_, state | awaited);
  state = state_.load(base::memory_order_acquire);
}

// @return the word as it was.
inline std::uint32_t notifier::clear_active() noexcept { return state_.fetch_and(~active, base::memory_order_relaxed); }

void notifier::on_hup() noexcept {
  if (!(clear_active() & active)) return;
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  ctx.assert_held();
  ctx.detach(entry_);
  if (!release_ || !*release_) return;
  calling_ = true;
  const base::outside_of_call here;
  (*release_)();
  // *this may be gone.
}

// Claims the registration. In a callback of another eventfd than that of this very registration it is refused: no lock may be
// taken there. Nor can it be where nothing is registered.
//
//   callback of eventfd A                others
//   reads the word: registered
//                                        unregister; ctx_ is none
//   ctx_ is none: nothing to refuse
//                                        register with B: the word is another, by its generation
//   fails to claim it; looks again; ctx_ is B: refuses
//
//   forbidden: claiming it by what was so before; it would wait for B's lock under A's.
inline notifier::claim notifier::begin_leaving() noexcept {
  auto state = state_.load(base::memory_order_acquire);
  for (;;) {
    // Acquire: where the word says `leaving` and there is none, whose callback this is finds that it is over.
    const auto* const ctx = ctx_.load(base::memory_order_acquire);
    if ((state & (registered | leaving | left)) && would_deadlock(ctx)) return claim::refused;
    const auto claimed = claimed_word(state, ctx);
    if (claimed == state) return claim::nothing;
    if (!state_.compare_exchange_weak(state, claimed, base::memory_order_acquire)) continue;
    if (claimed & taken_over) return claim::by_callback;
    if (claimed & leaving) return claim::taken;
    return state & active ? claim::by_callback : claim::by_callback_after_hup;
  }
}

// What the word says once it is claimed: itself, if there is nothing to claim. The active bit stays for whoever gets the lock.
// Whose queue's lock this thread holds, that one's notifiers do not change hands meanwhile, and calling_ may be read.
inline std::uint32_t notifier::claimed_word(std::uint32_t state, const eventfd_ctx* ctx) const noexcept {
  const bool has_lock = ctx != nullptr && ctx->in_own_callback();
  if (state & registered) {
    if (has_lock && calling_) return (state & ~(registered | active)) | left;
    return (state & ~registered) | leaving;
  }
  if (has_lock && state & leaving && state & active) return (state & ~active) | taken_over;
  return state;
}

// The rest of an unregister in a callback, whose claim leaves the share to somebody else: to those who come while the word says
// `left`, or who wait for the lock, which is the callback's, already.
template <class UnderLock>
inline decoupled notifier::leave_in_callback(bool is_on_queue, UnderLock under_lock) noexcept {
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  const eventfd_ctx_lock held{ctx};
  if (is_on_queue) ctx.detach(entry_);
  under_lock(ctx);
  return is_on_queue ? decoupled::by_us : decoupled::by_hup;
}

// Takes the entry off unless HUP or a callback has, and ends the share in the eventfd's memory. In between it calls `under_lock`,
// unless there is nothing left to answer for.
template <class UnderLock>
inline decoupled notifier::pass_through_lock(UnderLock under_lock) noexcept {
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  std::uint32_t found = 0;
  bool last = false;
  {
    const eventfd_ctx_lock held{ctx};
    found = clear_active();
    if (found & active) ctx.detach(entry_);
    if (!(found & taken_over)) under_lock(ctx);
    last = ctx.release_share();
  }
  // Not under the lock, which goes with the memory.
  if (last) [[unlikely]]
    ctx.put();
  if (found & taken_over) [[unlikely]]
    return decoupled::not_registered;
  return found & active ? decoupled::by_us : decoupled::by_hup;
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

// After the exchange *this may be gone: those who were waiting for us may destroy it. The address is still good for a wake.
inline void notifier::end_leaving() noexcept {
  // Release pairs with the acquire in begin_leaving().
  ctx_.store(nullptr, base::memory_order_release);
  // Release pairs with the acquires of those who look next.
  if (state_.exchange(0, base::memory_order_release) & awaited) [[unlikely]]
    base::futex_wake_all(&state_);
}

// Inside a callback it is our own, if any, that runs: it holds the lock.
inline notifier::outcome<decoupled> notifier::without_leaving(claim made) noexcept {
  if (made == claim::refused) return {std::errc::resource_deadlock_would_occur, decoupled::not_registered};
  if (!eventfd_ctx::in_callback()) wait_until_over();
  return {std::errc{}, decoupled::not_registered};
}

template <class UnderLock>
inline notifier::outcome<decoupled> notifier::leave(UnderLock under_lock) noexcept {
  const auto made = begin_leaving();
  if (made == claim::taken) [[likely]] {
    const auto ended = pass_through_lock(under_lock);
    end_leaving();
    return {std::errc{}, ended};
  }
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
