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
/// How long the helper waits for room before it looks whether it still has to.
constexpr std::chrono::milliseconds longest_look{250};

}  // namespace

// While it is full each signal looks for room first: a claim that does not fit costs two more holds of the lock. If a
// write would wait for room, a helper must wait for it; so a signal without a helper claims its count, and hands it over.
std::uint64_t eventfd_ctx::forwarder::claim() noexcept {
  ctx_.assert_held();
  const auto count = ctx_.count_locked();
  if (count == 0 || (is_full_ && !target_.has_room() && (is_helped_ || !target_.blocks()))) return 0;
  is_full_ = false;
  const auto claimed = std::min(count, eventfd::max);
  ctx_.lock_.set_value(count - claimed);
  in_flight_ += claimed;
  ctx_.attached_->in_flight += claimed;
  if (ctx_.attached_->bridge != nullptr) ctx_.announce_locked(POLLOUT);
  return claimed;
}

// The kernel eventfd is the same one in the child, which moves what it signals itself. What threads of the parent have
// in flight arrives by them.
bool eventfd_ctx::forwarder::begin_in_child() noexcept {
  in_flight_ = helpers_ = handed_over_ = 0;
  settled_ = hand_overs_;
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
  hand_over(claimed - added);
}

void eventfd_ctx::forwarder::settle(settlement of) noexcept {
  const eventfd_ctx_walk held{ctx_};
  settle_locked(of);
}

// What did not fit is here again. Readers that have come meanwhile wait for it, and poll_fd() shows it.
void eventfd_ctx::forwarder::settle_locked(settlement of) noexcept {
  ctx_.assert_held();
  // In a child that was forked in between, nothing is in flight.
  in_flight_ -= std::min(in_flight_, of.claimed);
  ctx_.attached_->in_flight -= std::min(ctx_.attached_->in_flight, of.claimed);
  if (const auto rest = of.claimed - of.moved; rest > 0) {
    is_full_ = true;
    ctx_.lock_.set_value(ctx_.count_locked() + rest);
    ctx_.announce_locked(came_back);
  }
  if (of.moved > 0) ctx_.announce_locked(POLLOUT);
  settlements_.fetch_add(1, base::memory_order_relaxed);
  if (std::exchange(is_awaited_, false)) base::futex_wake_all(&settlements_);
}

// Without a helper thread the count is written here: as good as it gets.
void eventfd_ctx::forwarder::hand_over(std::uint64_t claimed) noexcept {
  std::uint32_t mine = 0;  // equivalent fault (constant): it is set under the lock
  bool is_first = false;   // equivalent fault (constant): it is set under the lock
  bool is_stuck = false;   // equivalent fault (constant): it is set under the lock
  {
    const eventfd_ctx_lock held{ctx_};
    handed_over_ += claimed;
    helpers_ += claimed;
    mine = ++hand_overs_;
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

// One thread at a time, as is_helped_ says.
void eventfd_ctx::forwarder::serve_as(helper who) noexcept {
  const eventfd_ctx_ptr ctx{&ctx_, false};
  std::uint64_t claimed = 0;  // equivalent fault (constant): has_more() sets it
  std::uint32_t with = 0;     // equivalent fault (constant): has_more() sets it
  while (has_more(who, claimed, with)) {
    if (claimed > 0)
      move_by_helper(claimed, with);
    else
      wait_for_room();
  }
  put();
}

// Without a helper that waits for room, the next signal must claim its count, because only its write posts a helper.
/// @param[out] claimed what was handed over; 0 if what is here waits for room.
bool eventfd_ctx::forwarder::has_more(helper who, std::uint64_t& claimed, std::uint32_t& with) noexcept {
  const eventfd_ctx_lock held{ctx_};
  claimed = std::exchange(handed_over_, 0);
  with = hand_overs_;
  const bool waits = who == helper::may_wait && linked() && ctx_.count_locked() > 0;
  is_helped_ = claimed > 0 || waits;
  is_full_ = is_full_ && is_helped_;
  return is_helped_;
}

// In slices, so that stop_forwarding() and the last close end it.
void eventfd_ctx::forwarder::wait_for_room() noexcept {
  if (!target_.has_room(longest_look)) return;
  const eventfd_ctx_walk held{ctx_};
  if (linked()) claim_for_helper();
}

void eventfd_ctx::forwarder::claim_for_helper() noexcept {
  ctx_.assert_held();
  const auto claimed = claim();
  helpers_ += claimed;
  handed_over_ += claimed;
}

// A count that came back may have missed the room that was made before: its owner, who would wait for room, may have
// given up waiting for the helper. So the helper looks once more when the count is here again. Room that is made after
// that look finds the count here.
void eventfd_ctx::forwarder::move_by_helper(std::uint64_t claimed, std::uint32_t with) noexcept {
  const auto moved = target_.add(claimed);
  const eventfd_ctx_walk held{ctx_};
  helpers_ -= claimed;
  settled_ = with;
  is_stuck_ = false;
  settle_locked({.claimed = claimed, .moved = moved});
  if (moved < claimed && linked()) claim_for_helper();
}

void eventfd_ctx::forwarder::wait_until_arrived() noexcept {
  (void)wait_until([this] { return in_flight_ == 0; });
}

/// @return whether it is true; false when patience is over.
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

// In a callback only of an eventfd that no other thread has: then no order of locks can be turned round, and nothing is
// there to be moved.
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

// The pointers do not change any more: the caller has found the forwarding under the lock before.
std::uint64_t eventfd_ctx::forward_directly(std::uint64_t n) noexcept { return n - attached_->forwarding->add(n); }

// Otherwise a count would move twice, by the parent and by the child.
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
