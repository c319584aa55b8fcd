// SPDX-License-Identifier: Apache-2.0
//
// poll_bridge: an entry on the wait queue that keeps a kernel eventfd readable exactly while the count is above 0.
//
// Every change of the count is followed by a walk, and each walk brings the descriptor in line with the count, under the
// lock. Two changes may reach their walks in the other order; the walk that comes last sees both, and settles it.
#include <doorbell/base/private_fd.hpp>
#include <doorbell/base/walk_scope.hpp>
#include <doorbell/eventfd.hpp>

#include <cerrno>
#include <memory>
#include <new>

namespace doorbell {

class eventfd_ctx::poll_bridge final : public base::wait_entry {
 public:
  poll_bridge(eventfd_ctx& ctx, base::private_fd fd) noexcept : wait_entry{&on_wake}, ctx_{ctx}, fd_{std::move(fd)} {}

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  /// Lock held.
  void bring_in_line() noexcept {
    ctx_.assert_held();
    const bool readable = ctx_.count_locked() > 0;
    if (readable == readable_) return;
    std::uint64_t one = 1;
    if (!fd_.is_ours()) return;
    // Neither can fail: the descriptor holds 0 or 1, and nothing else writes to it or reads from it.
    [[maybe_unused]] const auto bytes =
        readable ? ::write(fd_.get(), &one, sizeof one) : ::read(fd_.get(), &one, sizeof one);
    readable_ = readable;
  }

  static int on_wake(wait_entry& entry, unsigned events) noexcept {
    auto& self = static_cast<poll_bridge&>(entry);
    self.ctx_.assert_held();
    if (events & POLLHUP) {
      self.ctx_.queue_.remove(self);
      base::walk_scope::defer(
          {[](void* bridge, std::uint64_t) noexcept { delete static_cast<poll_bridge*>(bridge); }, &self, 0});
    } else {
      self.bring_in_line();
    }
    return 0;
  }

 private:
  eventfd_ctx& ctx_;
  const base::private_fd fd_;
  bool readable_ = false;
};

int eventfd_ctx::poll_fd(std::error_code& ec) noexcept {
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return -1;
  }
  {
    const eventfd_ctx_lock held{*this};
    if (auto* there = queue_.find(&poll_bridge::on_wake)) return static_cast<poll_bridge*>(there)->fd();
  }
  auto fd = base::private_fd::with_number_of(base::unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)});
  if (!fd) {
    ec.assign(errno, std::system_category());
    return -1;
  }
  std::unique_ptr<poll_bridge> made{new (std::nothrow) poll_bridge{*this, std::move(fd)}};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return -1;
  }
  const eventfd_ctx_lock held{*this};
  if (auto* there = queue_.find(&poll_bridge::on_wake)) return static_cast<poll_bridge*>(there)->fd();
  queue_.add(*made);
  made->bring_in_line();
  return made.release()->fd();
}

}  // namespace doorbell
