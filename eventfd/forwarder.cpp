// SPDX-License-Identifier: Apache-2.0
//
// forwarder: an entry on the wait queue that moves counts into a kernel eventfd that somebody else made.
//
// A count is either here or there: it is taken off here only when the write over there has succeeded, and both happen
// under the lock. The write must not block, whatever that eventfd's flags are (they are shared with its maker, and not
// ours to change), so there must be room for it beforehand.
#include <doorbell/base/private_fd.hpp>
#include <doorbell/base/unique_fd.hpp>
#include <doorbell/base/walk_scope.hpp>
#include <doorbell/eventfd.hpp>

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>
#include <string_view>

namespace doorbell {
namespace {

/// A kernel eventfd of somebody else's, held by a descriptor of our own: the file stays though its maker close it.
class foreign_eventfd {
 public:
  /// @return false and `ec`, when `fd` is none.
  [[nodiscard]] bool open(int fd, std::error_code& ec) noexcept {
    fd_ = base::private_fd::duplicate_of(fd);
    if (!fd_) {
      ec.assign(errno, std::system_category());
      return false;
    }
    const auto info = open_info();
    if (!info) {
      ec.assign(errno, std::system_category());
      return false;
    }
    if (!count_in(info)) ec = std::make_error_code(std::errc::invalid_argument);
    return !ec;
  }

  /// Adds as much of `n` as fits now. @return how much.
  [[nodiscard]] std::uint64_t add(std::uint64_t n) noexcept {
    // The program has closed our descriptor, and perhaps uses its number. No way to the eventfd is left, so the count is
    // dropped instead of being kept for ever.
    if (!fd_.is_ours()) return n;
    if (!may_block() && write(n)) return n;
    const auto fits = std::min(n, room_for(n));
    return fits > 0 && write(fits) ? fits : 0;
  }

 private:
  // Of what did not block the last time it is believed for a while: it would have to be told to, and to be as good as full,
  // to make a difference.
  [[nodiscard]] bool may_block() noexcept {
    if (believed_ == 0) {
      if ((::fcntl(fd_.get(), F_GETFL) & O_NONBLOCK) == 0) return true;
      believed_ = 64;
    }
    --believed_;
    return false;
  }

  [[nodiscard]] bool write(std::uint64_t n) const noexcept {
    ssize_t written = 0;
    do written = ::write(fd_.get(), &n, sizeof n);
    while (written < 0 && errno == EINTR);
    return written == sizeof n;
  }

  /// At least how much there is room for; of more than `wanted` nothing need be said. POLLOUT promises 1.
  [[nodiscard]] std::uint64_t room_for(std::uint64_t wanted) noexcept {
    if (wanted > 1) {
      if (!info_) info_ = open_info();
      if (const auto there = count_in(info_)) return eventfd::max - std::min(*there, eventfd::max);
    }
    pollfd room{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    return ::poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) ? 1 : 0;
  }

  [[nodiscard]] base::unique_fd open_info() const noexcept {
    std::array<char, 40> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/fdinfo/%d", fd_.get());
    return base::unique_fd{::open(path.data(), O_RDONLY | O_CLOEXEC)};
  }

  /// What fdinfo says the count is; nothing, when it is not an eventfd's.
  [[nodiscard]] static std::optional<std::uint64_t> count_in(const base::unique_fd& info) noexcept {
    std::array<char, 512> text{};
    const auto size = ::pread(info.get(), text.data(), text.size(), 0);
    if (size <= 0) return std::nullopt;
    constexpr std::string_view key = "eventfd-count:";
    const std::string_view told{text.data(), static_cast<std::size_t>(size)};
    const auto at = told.find(key);
    if (at == std::string_view::npos) return std::nullopt;
    const auto digits = told.find_first_not_of(" \t", at + key.size());
    if (digits == std::string_view::npos) return std::nullopt;
    std::uint64_t count = 0;
    const auto parsed = std::from_chars(told.data() + digits, told.data() + told.size(), count, 16);
    return parsed.ec == std::errc{} ? std::optional{count} : std::nullopt;
  }

  base::private_fd fd_;
  base::unique_fd info_;   // opened when it is first needed to see how much room there is
  unsigned believed_ = 0;  // how many writes not to block
};

}  // namespace

class eventfd_ctx::forwarder final : public base::wait_entry {
 public:
  explicit forwarder(eventfd_ctx& ctx) noexcept : wait_entry{&on_wake}, ctx_{ctx} {}

  [[nodiscard]] bool open(int fd, std::error_code& ec) noexcept { return target_.open(fd, ec); }

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
  foreign_eventfd target_;
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
