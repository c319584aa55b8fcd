// SPDX-License-Identifier: Apache-2.0
//
// The protocol of a registration.
//
//   mutex_   register_with() and unregister() hold it from begin to end, outside callbacks; the destructor locks it for
//            good. A second unregister() waits here for the first, and so for the callback that the first one waits
//            for. A callback never waits for it. Lock order: mutex_, then the eventfd's lock.
//   ctx_     the eventfd of the queue. It is set and cleared under mutex_ and under the lock of that eventfd, so a
//            thread that holds either lock and finds it set knows that it does not change.
//   active_  whether the entry is on the queue: set when the entry is added, under the same hold of the eventfd's lock.
//            HUP, unregister() and an unregister() in a callback test and clear it with one atomic operation under that
//            lock. Exactly one of them finds it set, removes the entry and decides how the registration ended.
//   end_     the next result of unregister() for a registration that is not active. Under the eventfd's lock.
//
//   ctx_ null --register_with--> active --HUP--> not active, untold --+
//       ^                           |                                 | unregister(), told
//       |                           +--unregister() in a callback--> not active, told
//       +-------- let_go() by: an unregister(), in another notifier's callback, too; a register_with(); its own
//                 callback when it returns
//
// While ctx_ is set, the eventfd_ctx stays in memory (the entry's share), although it may be closed.
//
//   unregister()                         the callback, or release()
//                                        runs, under the eventfd's lock
//   mutex_; the eventfd's lock ... waits
//                                        unregister(): clears active_, removes the entry; ctx_ stays
//                                        runs on; returns; try_lock fails: the holder of mutex_ clears ctx_
//   active_ is clear: not_registered; ctx_ = null
//
//   forbidden: unregister() returns while the callback runs. It has acquired the eventfd's lock before it returns
//              unless ctx_ is null, and the callback clears ctx_ only after the program's function has returned.
//
// In a callback of another eventfd the lock of ctx_ must not be acquired: if ctx_ is null, the notifier is not
// registered; otherwise the call is refused. The acquire of ctx_ there pairs with the release in let_go(), so all that
// the last callback did has happened before.
#include <doorbell/notifier.hpp>

#include <tuple>
#include <utility>

#include <doorbell/base/call_scope.hpp>
#include <doorbell/base/fatal.hpp>

namespace doorbell {
namespace {

constexpr auto callbacks_document = "docs/eventfd.md, In a callback";

// In a callback of another eventfd: no lock may be acquired under the lock that this thread holds.
bool would_deadlock(const eventfd_ctx& ctx) noexcept { return eventfd_ctx::in_callback() && !ctx.in_own_callback(); }

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

void notifier::start(const eventfd& efd) {
  tell(enter_queue(efd.unreferenced_context(), sharing::every), "doorbell: notifier");
}

void notifier::start(const eventfd& efd, std::error_code& ec) noexcept {
  tell(enter_queue(efd.unreferenced_context(), sharing::every), ec);
}

notifier::~notifier() {
  // First, because an atomic operation waits for earlier loads, such as that of in_callback().
  const bool is_locked = mutex_.try_lock_for_good();
  if (eventfd_ctx::in_callback()) [[unlikely]] {
    destroy_in_callback(is_locked);
    return;
  }
  if (!is_locked) [[unlikely]]
    mutex_.lock_for_good();
  if (auto* const ctx = ctx_.load(base::memory_order_relaxed)) end_with(*ctx);
}

// Under mutex_. No other thread reads the active bit after this.
inline void notifier::end_with(eventfd_ctx& ctx) noexcept {
  bool last = false;
  {
    const eventfd_ctx_lock held{ctx};
    if (active_.load(base::memory_order_relaxed)) ctx.detach(entry_);
    last = ctx.release_share();
  }
  if (last) [[unlikely]]
    ctx.put();
}

// No other thread uses a notifier that is being destroyed, except a callback that has ended its registration and still
// holds mutex_ for a moment. If the notifier is registered, this thread holds the lock under which its callback runs.
void notifier::destroy_in_callback(bool is_locked) noexcept {
  auto* const ctx = ctx_.load(base::memory_order_acquire);
  if (ctx == nullptr) {
    if (!is_locked) mutex_.lock_for_good();
    return;
  }
  if (!ctx->in_own_callback())
    base::fatal("a notifier was destroyed in a callback of another eventfd while it was registered",
                callbacks_document);
  if (base::wait_queue::events_told_to(entry_) & POLLIN)
    base::fatal("a notifier was destroyed in its own signal callback", callbacks_document);
  const eventfd_ctx_lock held{*ctx};
  std::ignore = take_off(*ctx);
  std::ignore = ctx->release_share();
}

bool notifier::register_with(const eventfd& efd, sharing how, std::error_code& ec) noexcept {
  return tell(try_register(efd, how), ec);
}

bool notifier::register_with(const eventfd& efd, sharing how) {
  return tell(try_register(efd, how), "doorbell: register_with");
}

inline notifier::outcome<bool> notifier::try_register(const eventfd& efd, sharing how) noexcept {
  auto* const to = efd.unreferenced_context();
  if (eventfd_ctx::in_callback()) [[unlikely]]
    return register_in_callback(to, how);
  const base::fork_aware_lock held{mutex_};
  if (auto* const before = ctx_.load(base::memory_order_relaxed)) [[unlikely]] {
    bool last = false;
    {
      const eventfd_ctx_lock its{*before};
      if (!has_ended()) return {std::errc::device_or_resource_busy, false};
      last = let_go(*before);
    }
    if (last) before->put();
  }
  return enter_queue(to, how);
}

notifier::outcome<bool> notifier::register_in_callback(eventfd_ctx* to, sharing how) noexcept {
  auto* const before = ctx_.load(base::memory_order_acquire);
  if (before != nullptr && before->in_own_callback()) {
    if (!has_ended()) return {std::errc::device_or_resource_busy, false};
    if (to == before) return enter_again(*before, how);
  }
  if (to == nullptr) return {std::errc::bad_file_descriptor, false};
  if (before != nullptr) return {std::errc::resource_deadlock_would_occur, false};
  if (!mutex_.try_lock()) return {std::errc::device_or_resource_busy, false};
  const auto entered = ctx_.load(base::memory_order_relaxed) == nullptr
                           ? enter_queue(to, how)
                           : outcome<bool>{std::errc::device_or_resource_busy, false};
  mutex_.unlock();
  return entered;
}

// Under mutex_, or before the constructor has returned.
inline notifier::outcome<bool> notifier::enter_queue(eventfd_ctx* to, sharing how) noexcept {
  if (to == nullptr) return {std::errc::bad_file_descriptor, false};
  if (would_deadlock(*to)) return {std::errc::resource_deadlock_would_occur, false};
  const eventfd_ctx_lock held{*to};
  entry_.set_exclusive(how == sharing::exclusive);
  if (!to->attach(entry_)) return {std::errc::bad_file_descriptor, false};
  ctx_.store(to, base::memory_order_relaxed);
  return begin(*to);
}

// In a callback of the eventfd of which the entry still has its share.
notifier::outcome<bool> notifier::enter_again(eventfd_ctx& own, sharing how) noexcept {
  const eventfd_ctx_lock held{own};
  entry_.set_exclusive(how == sharing::exclusive);
  if (!own.attach_again(entry_)) return {std::errc::bad_file_descriptor, false};
  return begin(own);
}

// The active bit is set under the lock, so a walk finds entry and bit together. The count is read under the same lock,
// and from now on changes only under it: a signal is either in this count, or its walk finds the entry.
inline notifier::outcome<bool> notifier::begin(eventfd_ctx& to) noexcept {
  to.assert_held();
  active_.store(true, base::memory_order_relaxed);
  return {std::errc{}, to.count_locked() > 0};
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

// If the callback has ended its own registration, let_go() completes that after the callback. If another thread holds
// mutex_ then, that thread completes it under the eventfd's lock, or leaves it to a later register_with() or
// unregister().
// *this may have been freed when mutex_ is unlocked.
void notifier::call(eventfd_ctx& ctx) noexcept {
  {
    const base::outside_of_call here;
    signal_(ctx);
  }
  if (active_.load(base::memory_order_relaxed)) [[likely]]
    return;
  if (!mutex_.try_lock()) return;
  ctx.assert_held();
  std::ignore = let_go(ctx);  // false: the eventfd is open, or a close waits for the lock and will put()
  mutex_.unlock();
}

void notifier::on_hup() noexcept {
  if (!active_.exchange(false, base::memory_order_relaxed)) return;
  auto& ctx = *ctx_.load(base::memory_order_relaxed);
  ctx.assert_held();
  ctx.detach(entry_);
  end_ = end::untold;
  if (!release_ || !*release_) return;
  const base::outside_of_call here;
  (*release_)();
  // *this may have been freed.
}

// Under the eventfd's lock.
inline decoupled notifier::take_off(eventfd_ctx& ctx) noexcept {
  ctx.assert_held();
  if (active_.exchange(false, base::memory_order_relaxed)) [[likely]] {
    ctx.detach(entry_);
    end_ = end::told;
    return decoupled::by_us;
  }
  return std::exchange(end_, end::told) == end::untold ? decoupled::by_hup : decoupled::not_registered;
}

// Under the eventfd's lock.
inline bool notifier::has_ended() const noexcept {
  return !active_.load(base::memory_order_relaxed) && end_ == end::told;
}

// Under mutex_ and the eventfd's lock.
// @return whether the caller must put() the eventfd_ctx when it has released the lock.
inline bool notifier::let_go(eventfd_ctx& ctx) noexcept {
  ctx.assert_held();
  ctx_.store(nullptr, base::memory_order_release);
  return ctx.release_share();
}

// Removes the entry unless it is off the queue already. Then calls `under_lock`, unless the result is
// not_registered.
template <class Lock, class UnderLock>
inline notifier::outcome<decoupled> notifier::leave(UnderLock under_lock) noexcept {
  if (eventfd_ctx::in_callback()) [[unlikely]] {
    auto* const ctx = ctx_.load(base::memory_order_acquire);
    if (ctx == nullptr) return {std::errc{}, decoupled::not_registered};
    if (!ctx->in_own_callback()) return {std::errc::resource_deadlock_would_occur, decoupled::not_registered};
    const auto ended = take_off(*ctx);
    if (ended != decoupled::not_registered) under_lock(*ctx);
    // The registration is completely over, unless the notifier's own callback runs, or another thread holds mutex_ and
    // waits for the lock.
    if (base::wait_queue::events_told_to(entry_) == 0 && mutex_.try_lock()) {
      std::ignore = let_go(*ctx);
      mutex_.unlock();
    }
    return {std::errc{}, ended};
  }
  const base::fork_aware_lock held{mutex_};
  auto* const ctx = ctx_.load(base::memory_order_relaxed);
  if (ctx == nullptr) return {std::errc{}, decoupled::not_registered};
  auto ended = decoupled::not_registered;
  bool last = false;
  {
    const Lock its{*ctx};
    ended = take_off(*ctx);
    if (ended != decoupled::not_registered) under_lock(*ctx);
    last = let_go(*ctx);
  }
  // Not under the lock, which is freed with the memory.
  if (last) [[unlikely]]
    ctx->put();
  return {std::errc{}, ended};
}

inline notifier::outcome<decoupled> notifier::try_unregister() noexcept {
  return leave<eventfd_ctx_lock>([](eventfd_ctx&) {});
}

notifier::outcome<decoupled> notifier::try_unregister_and_read(std::uint64_t& count) noexcept {
  count = 0;
  bool some = false;
  const auto left = leave<eventfd_ctx_walk>([&](eventfd_ctx& ctx) {
    ctx.assert_held();
    some = ctx.take_locked(count);
  });
  if (left.answer == decoupled::not_registered || some) return left;
  return {std::errc::resource_unavailable_try_again, left.answer};
}

decoupled notifier::unregister(std::error_code& ec) noexcept { return tell(try_unregister(), ec); }

decoupled notifier::unregister() { return tell(try_unregister(), "doorbell: unregister"); }

decoupled notifier::unregister_and_read(std::uint64_t& count, std::error_code& ec) noexcept {
  return tell(try_unregister_and_read(count), ec);
}

decoupled notifier::unregister_and_read(std::uint64_t& count) {
  auto left = try_unregister_and_read(count);
  if (left.answer != decoupled::not_registered) left.error = {};
  return tell(left, "doorbell: unregister_and_read");
}

}  // namespace doorbell
