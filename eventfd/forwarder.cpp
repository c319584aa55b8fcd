// SPDX-License-Identifier: Apache-2.0
#include "forwarder.hpp"

#include <doorbell/base/futex.hpp>
#include <doorbell/base/walk_scope.hpp>
#include <doorbell/eventfd.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <utility>

#include "attachments.hpp"

namespace doorbell {
namespace {

/// How long a signaller waits for the helper: much longer than a write takes on a busy system.
constexpr std::chrono::milliseconds patience{250};
/// How long the helper waits for room before it checks whether forwarding still continues.
constexpr std::chrono::milliseconds longest_look{250};

}  // namespace

// While the kernel eventfd is full, each signal checks for room first, since a claim that does not fit costs two more
// holds of the lock. If the kernel eventfd is a blocking one, a helper must wait for the room. While no helper does,
// the signal claims its count although there is no room: move() then hands the count to a helper.
std::uint64_t eventfd_ctx::forwarder::claim() noexcept {
  ctx_.assert_held();
  const auto count = ctx_.count_locked();
  if (count == 0 || (is_full_ && !target_.has_room() && (is_helped_ || !target_.blocks()))) return 0;
  is_full_ = false;
  const auto claimed = std::min(count, eventfd::max);
  ctx_.lock_.set_value(count - claimed);
  in_flight_ += claimed;
  ctx_.attached_->in_flight += claimed;
  if (ctx_.attached_->bridge != nullptr) ctx_.notify_waiters_locked(POLLOUT);
  return claimed;
}

// The child signals the same kernel eventfd, and moves its own counts. The parent's threads deliver the counts that
// were in flight at the fork.
bool eventfd_ctx::forwarder::begin_in_child() noexcept {
  in_flight_ = with_helper_ = handed_over_ = 0;
  settled_ = handovers_;
  is_helped_ = is_stuck_ = is_full_ = is_awaited_ = false;
  return true;
}

int eventfd_ctx::forwarder::on_wake(wait_entry& entry, unsigned events) noexcept {
  auto& self = static_cast<forwarder&>(entry);
  self.ctx_.assert_held();
  if (events & (POLLIN | POLLHUP))
    if (const auto claimed = self.claim(); claimed > 0) self.move_later(claimed);
  if (events & POLLHUP) {
    self.ctx_.queue_.remove(self);
    self.ctx_.attached_->forwarding = nullptr;
    base::walk_scope::defer(
        {[](void* ended, std::uint64_t) noexcept { static_cast<forwarder*>(ended)->put(); }, &self, 0});
  }
  return 0;
}

void eventfd_ctx::forwarder::move_later(std::uint64_t claimed) noexcept {
  get();
  ctx_.get();
  base::walk_scope::defer({[](void* moved, std::uint64_t n) noexcept {
                             auto& self = *static_cast<forwarder*>(moved);
                             const eventfd_ctx_ptr ctx{&self.ctx_, false};
                             self.move(n);
                             self.put();
                           },
                           this, claimed});
}

void eventfd_ctx::forwarder::move(std::uint64_t claimed) noexcept {
  const auto [added, may_block] = target_.add_unless_blocking(claimed);
  if (!may_block) {
    settle({.claimed = claimed, .moved = added});
    return;
  }
  if (added > 0) settle({.claimed = added, .moved = added});
  hand_to_helper(claimed - added);
}

void eventfd_ctx::forwarder::settle(settlement of) noexcept {
  const eventfd_ctx_walk held{ctx_};
  settle_locked(of);
}

// The rest that did not fit returns to the count. Readers that have come meanwhile are woken, and poll_fd() shows it.
void eventfd_ctx::forwarder::settle_locked(settlement of) noexcept {
  ctx_.assert_held();
  // A child that was forked in between has nothing in flight.
  in_flight_ -= std::min(in_flight_, of.claimed);
  ctx_.attached_->in_flight -= std::min(ctx_.attached_->in_flight, of.claimed);
  if (const auto rest = of.claimed - of.moved; rest > 0) {
    is_full_ = true;
    ctx_.lock_.set_value(ctx_.count_locked() + rest);
    ctx_.notify_waiters_locked(came_back);
  }
  if (of.moved > 0) ctx_.notify_waiters_locked(POLLOUT);
  // equivalent fault (constant): that it changes is enough
  settlements_.fetch_add(1, base::memory_order_relaxed);
  if (std::exchange(is_awaited_, false)) base::futex_wake_all(&settlements_);
}

// If no helper thread can be started, this thread writes itself, after a check of the room.
void eventfd_ctx::forwarder::hand_to_helper(std::uint64_t claimed) noexcept {
  std::uint32_t mine = 0;  // equivalent fault (constant): it is set under the lock
  bool is_first = false;   // equivalent fault (constant): it is set under the lock
  bool is_stuck = false;   // equivalent fault (constant): it is set under the lock
  {
    const eventfd_ctx_lock held{ctx_};
    handed_over_ += claimed;
    with_helper_ += claimed;
    mine = ++handovers_;
    is_first = !std::exchange(is_helped_, true);
    is_stuck = is_stuck_;
  }
  if (is_first) {
    get();
    ctx_.get();
    if (!forward_helper::post(*this)) serve_as(helper::must_return);
  }
  if (is_stuck || wait_until([&] { return static_cast<std::int32_t>(settled_ - mine) >= 0; })) return;
  {
    const eventfd_ctx_lock held{ctx_};
    is_stuck_ = static_cast<std::int32_t>(settled_ - mine) < 0;
  }
  forward_helper::relieve();
}

void eventfd_ctx::forwarder::serve() noexcept { serve_as(helper::may_wait); }

// is_helped_ admits one thread at a time.
void eventfd_ctx::forwarder::serve_as(helper who) noexcept {
  const eventfd_ctx_ptr ctx{&ctx_, false};
  std::uint64_t claimed = 0;         // equivalent fault (constant): has_more() sets it
  std::uint32_t up_to_handover = 0;  // equivalent fault (constant): has_more() sets it
  while (has_more(who, claimed, up_to_handover)) {
    if (claimed > 0)
      move_by_helper(claimed, up_to_handover);
    else
      wait_for_room();
  }
  put();
}

// If no helper waits for room, the next signal must claim its count: only a claimed count is handed to a helper.
/// @param[out] claimed the count that was handed over; 0 if the count here waits for room.
/// @param[out] up_to_handover the number of the last handover that `claimed` includes.
bool eventfd_ctx::forwarder::has_more(helper who, std::uint64_t& claimed, std::uint32_t& up_to_handover) noexcept {
  const eventfd_ctx_lock held{ctx_};
  claimed = std::exchange(handed_over_, 0);
  up_to_handover = handovers_;
  const bool waits = who == helper::may_wait && linked() && ctx_.count_locked() > 0;
  is_helped_ = claimed > 0 || waits;
  is_full_ = is_full_ && is_helped_;
  return is_helped_;
}

// Waits in slices, so that it notices stop_forwarding() and the last close.
void eventfd_ctx::forwarder::wait_for_room() noexcept {
  if (!target_.has_room(longest_look)) return;
  const eventfd_ctx_walk held{ctx_};
  if (linked()) claim_for_helper();
}

void eventfd_ctx::forwarder::claim_for_helper() noexcept {
  ctx_.assert_held();
  const auto claimed = claim();
  with_helper_ += claimed;
  handed_over_ += claimed;
}

// Room may appear after the write and before the rest is back in the count. No other thread would then move the rest:
// the signaller may have stopped waiting for the helper. So the helper claims once more when the rest is back. A thread
// that makes or finds room after that also finds the count.
void eventfd_ctx::forwarder::move_by_helper(std::uint64_t claimed, std::uint32_t up_to_handover) noexcept {
  const auto moved = target_.add(claimed);
  const eventfd_ctx_walk held{ctx_};
  with_helper_ -= claimed;
  settled_ = up_to_handover;
  is_stuck_ = false;
  settle_locked({.claimed = claimed, .moved = moved});
  if (moved < claimed && linked()) claim_for_helper();
}

void eventfd_ctx::forwarder::wait_until_arrived() noexcept {
  (void)wait_until([this] { return in_flight_ == 0; });
}

/// @return false if the condition is still false after `patience`.
template <class Condition>
bool eventfd_ctx::forwarder::wait_until(Condition is_true) noexcept {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    std::uint32_t seen = 0;
    {
      const eventfd_ctx_lock held{ctx_};
      if (is_true()) return true;
      is_awaited_ = true;
      seen = settlements_.load(base::memory_order_relaxed);
    }
    if (base::futex_wait(settlements_, seen, until) == base::futex_result::timed_out) return false;
  }
}

void eventfd_ctx::forward_to(int fd, std::error_code& ec) noexcept {
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return;
  }
  start_forwarding(fd, ec);
}

// In a callback only for an eventfd that no other thread has: its lock cannot be part of a deadlock, and there is no
// count to move.
void eventfd_ctx::start_forwarding(int fd, std::error_code& ec) noexcept {
  const auto drop = [](forwarder* dropped) noexcept { dropped->put(); };
  std::unique_ptr<forwarder, decltype(drop)> made{new (std::nothrow) forwarder{*this}};
  std::unique_ptr<attachments> place{new (std::nothrow) attachments};
  if (made == nullptr || place == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return;
  }
  if (!made->open(fd, ec)) return;
  std::uint64_t claimed = 0;
  {
    const eventfd_ctx_walk held{*this};
    if (attached_ == nullptr) attached_ = place.release();
    if (attached_->forwarding != nullptr) {
      ec = std::make_error_code(std::errc::device_or_resource_busy);
      return;
    }
    made->get();
    attached_->forwarding = made.get();
    queue_.add(*made);
    claimed = made->claim();
  }
  if (claimed > 0) made->move(claimed);
}

void eventfd_ctx::forward_waiting() noexcept {
  forwarder* there = nullptr;
  std::uint64_t claimed = 0;
  {
    const eventfd_ctx_walk held{*this};
    if (attached_ != nullptr) there = attached_->forwarding;
    if (there == nullptr) return;
    there->get();
    claimed = there->claim();
  }
  if (claimed > 0)
    there->move(claimed);
  else
    there->wait_until_arrived();
  there->put();
}

bool eventfd_ctx::has_waiting_counts() noexcept {
  const eventfd_ctx_lock held{*this};
  if (count_locked() > 0) return true;
  const auto* const there = attached_ != nullptr ? attached_->forwarding : nullptr;
  return there != nullptr && there->is_helper_moving();
}

const base::private_fd* eventfd_ctx::forwarding_target() noexcept {
  const eventfd_ctx_lock held{*this};
  const auto* const there = attached_ != nullptr ? attached_->forwarding : nullptr;
  return there != nullptr ? &there->descriptor() : nullptr;
}

// The pointers do not change: the caller has found the forwarding under the lock before, and it cannot be stopped.
std::uint64_t eventfd_ctx::forward_directly(std::uint64_t n) noexcept { return n - attached_->forwarding->add(n); }

// Drops the child's copy of the waiting counts: otherwise both the parent and the child would move them.
void eventfd_ctx::leave_waiting_to_parent() noexcept {
  if (attached_ == nullptr) return;
  attached_->in_flight = 0;
  if (attached_->forwarding != nullptr) lock_.set_value(0);
}

void eventfd_ctx::stop_forwarding(std::error_code& ec) noexcept {
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return;
  }
  forwarder* ended = nullptr;
  {
    const eventfd_ctx_lock held{*this};
    if (attached_ != nullptr) ended = std::exchange(attached_->forwarding, nullptr);
    if (ended != nullptr) queue_.remove(*ended);
  }
  if (ended == nullptr) {
    ec = std::make_error_code(std::errc::no_such_file_or_directory);
    return;
  }
  ended->wait_until_arrived();
  ended->put();
}

}  // namespace doorbell
