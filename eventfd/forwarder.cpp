// SPDX-License-Identifier: Apache-2.0
//
// forwarder: an entry on the wait queue that moves counts into a kernel eventfd that somebody else made.
//
// A count is either here or there: it is taken off here only when the write over there has succeeded, and both happen
// under the lock.
#include <doorbell/base/walk_scope.hpp>
#include <doorbell/eventfd.hpp>

#include <algorithm>
#include <memory>
#include <new>

#include "kernel_eventfd.hpp"

namespace doorbell {

class eventfd_ctx::forwarder final : public base::wait_entry {
 public:
  explicit forwarder(eventfd_ctx& ctx) noexcept : wait_entry{&on_wake}, ctx_{ctx} {}

  [[nodiscard]] bool open(int fd, std::error_code& ec) noexcept { return target_.open(fd, ec); }
  [[nodiscard]] const base::private_fd& descriptor() const noexcept { return target_.descriptor(); }

  /// Moves what is there. Lock held.
  /// @return whether anything moved, and so whether there is room now for POLLOUT to tell of.
  bool move_counts() noexcept {
    ctx_.assert_held();
    const auto count = ctx_.count_locked();
    if (count == 0) return false;
    const auto moved = target_.add(std::min(count, eventfd::max));
    if (moved == 0) return false;
    ctx_.lock_.set_value(count - moved);
    return true;
  }

  static int on_wake(wait_entry& entry, unsigned events) noexcept {
    auto& self = static_cast<forwarder&>(entry);
    self.ctx_.assert_held();
    if ((events & (POLLIN | POLLHUP)) && self.move_counts()) self.ctx_.wake(POLLOUT);
    if (events & POLLHUP) {
      self.ctx_.queue_.remove(self);
      base::walk_scope::defer(
          {[](void* ended, std::uint64_t) noexcept { delete static_cast<forwarder*>(ended); }, &self, 0});
    }
    return 0;
  }

 private:
  eventfd_ctx& ctx_;
  kernel_eventfd target_;
};

void eventfd_ctx::forward_to(int fd, std::error_code& ec) noexcept {
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return;
  }
  start_forwarding(fd, ec);
}

// In a callback only of an eventfd that no other thread has: then no order of locks can be turned round.
void eventfd_ctx::start_forwarding(int fd, std::error_code& ec) noexcept {
  std::unique_ptr<forwarder> made{new (std::nothrow) forwarder{*this}};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return;
  }
  if (!made->open(fd, ec)) return;
  bool moved = false;
  {
    const eventfd_ctx_lock held{*this};
    if (queue_.find(&forwarder::on_wake) != nullptr) {
      ec = std::make_error_code(std::errc::device_or_resource_busy);
      return;
    }
    queue_.add(*made);
    moved = made.release()->move_counts();
  }
  if (moved) wake(POLLOUT);
}

const base::private_fd* eventfd_ctx::forwarding_target() noexcept {
  const eventfd_ctx_lock held{*this};
  const auto* const there = queue_.find(&forwarder::on_wake);
  return there != nullptr ? &static_cast<const forwarder*>(there)->descriptor() : nullptr;
}

void eventfd_ctx::stop_forwarding(std::error_code& ec) noexcept {
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return;
  }
  std::unique_ptr<forwarder> ended;
  {
    const eventfd_ctx_lock held{*this};
    if (auto* there = queue_.find(&forwarder::on_wake)) {
      queue_.remove(*there);
      ended.reset(static_cast<forwarder*>(there));
    }
  }
  if (ended == nullptr) ec = std::make_error_code(std::errc::no_such_file_or_directory);
}

}  // namespace doorbell
