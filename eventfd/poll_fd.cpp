// SPDX-License-Identifier: Apache-2.0
//
// poll_bridge: an entry on the wait queue that keeps a kernel eventfd readable exactly while the count is above 0.
//
// Every change of the count is followed by a walk under the same hold of the lock, and each walk makes the descriptor
// agree with the count. So they agree whenever the lock is free, and each change from 0 makes an edge:
//
//   signaller                            reader
//   lock; count 1; writes 1; unlock      gets the edge
//                                        lock; takes the count; reads the 1; unlock
//   lock; count 1; writes 1; unlock      gets the next edge
//
//   forbidden: lock; takes the count; unlock; the second signal, whose walk finds the 1 still there; the walk of the
//              read, which finds the count above 0. The reader waits for an edge that no thread makes.
#include <doorbell/base/private_fd.hpp>
#include <doorbell/base/uncancelled.hpp>
#include <doorbell/base/walk_scope.hpp>
#include <doorbell/eventfd.hpp>

#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <new>

#include "attachments.hpp"
#include "file_entry.hpp"

namespace doorbell {

class eventfd_ctx::poll_bridge final : public file_entry {
 public:
  poll_bridge(eventfd_ctx& ctx, base::private_fd fd) noexcept : file_entry{ctx, &on_wake}, fd_{std::move(fd)} {}

  [[nodiscard]] static base::unique_fd make_file() noexcept {
    return base::unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  /// Lock held.
  void bring_in_line() noexcept {
    ctx_.assert_held();
    const bool readable = ctx_.count_locked() > 0;
    if (readable == readable_) return;
    std::uint64_t one = 1;
    const base::uncancelled here;
    if (!fd_.is_ours()) return;
    // Neither call can fail: the descriptor holds 0 or 1, and only this function writes to it and reads from it.
    [[maybe_unused]] const auto bytes =
        readable ? ::write(fd_.get(), &one, sizeof one) : ::read(fd_.get(), &one, sizeof one);
    readable_ = readable;
  }

  /// The child has its own count, so it needs its own file. Lock held.
  [[nodiscard]] bool begin_in_child() noexcept override {
    replace_file();
    bring_in_line();
    return true;
  }

  static int on_wake(wait_entry& entry, unsigned events) noexcept {
    auto& self = static_cast<poll_bridge&>(entry);
    self.ctx_.assert_held();
    if (events & POLLHUP) {
      self.ctx_.queue_.remove(self);
      self.ctx_.attached_->bridge = nullptr;
      base::walk_scope::defer(
          // equivalent fault (constant): the argument is not used
          {[](void* bridge, std::uint64_t) noexcept { delete static_cast<poll_bridge*>(bridge); }, &self, 0});
    } else {
      self.bring_in_line();
    }
    return 0;
  }

 private:
  /// Puts a new file under the same number. If no descriptor is left, the parent's file is closed first.
  void replace_file() noexcept {
    if (!fd_.is_ours()) return;
    const int number = fd_.get();
    auto made = make_file();
    if (!made) {
      fd_.reset();
      made = make_file();
    }
    if (!made) return;
    if (made.get() != number) {
      if (::dup3(made.get(), number, O_CLOEXEC) < 0) return;
      made = base::unique_fd{number};
    }
    [[maybe_unused]] const int same = fd_.release();
    fd_ = base::private_fd::at_number_of(std::move(made));
    readable_ = false;
  }

  base::private_fd fd_;
  bool readable_ = false;
};

int eventfd_ctx::poll_fd(std::error_code& ec) noexcept {
  if (in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return -1;
  }
  {
    const eventfd_ctx_lock held{*this};
    if (attached_ != nullptr && attached_->bridge != nullptr) return attached_->bridge->fd();
  }
  auto fd = base::private_fd::with_number_of(poll_bridge::make_file());
  if (!fd) {
    ec.assign(errno, std::system_category());
    return -1;
  }
  std::unique_ptr<poll_bridge> made{new (std::nothrow) poll_bridge{*this, std::move(fd)}};
  std::unique_ptr<attachments> place{new (std::nothrow) attachments};
  if (made == nullptr || place == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return -1;
  }
  const eventfd_ctx_lock held{*this};
  if (attached_ == nullptr) attached_ = place.release();
  if (attached_->bridge == nullptr) {
    attached_->bridge = made.release();
    queue_.add(*attached_->bridge);
    attached_->bridge->bring_in_line();
  }
  return attached_->bridge->fd();
}

}  // namespace doorbell
