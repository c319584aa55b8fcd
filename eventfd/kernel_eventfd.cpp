// SPDX-License-Identifier: Apache-2.0
#include "kernel_eventfd.hpp"

#include <doorbell/base/uncancelled.hpp>
#include <doorbell/eventfd.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "eventfd_recognition.hpp"
#include "fdinfo.hpp"

namespace doorbell {
namespace {

// The largest count that one call adds without fdinfo, with two system calls for each 1; the rest is added later.
constexpr std::uint64_t most_one_by_one = 1024;

/// The flags that F_SETFL changes.
constexpr int changeable_flags = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;

}  // namespace

// The error of a descriptor of O_PATH is that of a closed one, as in the kernel.
bool kernel_eventfd::open(int fd, std::error_code& ec) noexcept {
  const base::uncancelled here;
  if (base::private_fd::is_of_library(fd)) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return false;
  }
  fd_ = base::private_fd::duplicate_of(fd);
  if (!fd_) {
    ec.assign(errno, std::system_category());
    return false;
  }
  const int flags_now = ::fcntl(fd_.get(), F_GETFL);
  if (flags_now < 0) {
    ec.assign(errno, std::system_category());
    return false;
  }
  constant_flags_ = flags_now & ~changeable_flags;
  if (is_eventfd(fd_.get())) return true;
  const bool is_path = (constant_flags_ & O_PATH) != 0;
  ec = std::make_error_code(is_path ? std::errc::bad_file_descriptor : std::errc::invalid_argument);
  return false;
}

// If the program has closed the library's descriptor, and perhaps uses its number, the eventfd cannot be reached any
// more. So the count is dropped and not kept for ever.
kernel_eventfd::outcome kernel_eventfd::add_unless_blocking(std::uint64_t n) noexcept {
  const base::uncancelled here;
  if (!fd_.refers_to_its_file()) return {.added = n, .may_block = false};
  if (const auto found = look_at_flags(); found != flags::non_blocking)
    return found == flags::blocking ? outcome{.added = 0, .may_block = true} : outcome{.added = n, .may_block = false};
  if (write(n)) return {.added = n, .may_block = false};
  return add_by_halves(n);
}

std::uint64_t kernel_eventfd::add(std::uint64_t n) noexcept {
  const base::uncancelled here;
  const auto [added, may_block] = add_unless_blocking(n);
  if (!may_block) return added;
  n -= added;
  if (n == 1) return added + add_one_by_one(n);
  const auto there_is = room();
  if (!there_is) return added + add_one_by_one(n);
  const auto fits = std::min(n, *there_is);
  return added + (fits > 0 && write(fits) ? fits : 0);
}

kernel_eventfd::flags kernel_eventfd::look_at_flags() noexcept {
  if (is_seen_blocking_.load(base::memory_order_relaxed)) return flags::blocking;
  const int now = ::fcntl(fd_.get(), F_GETFL);
  if (now < 0 || (now & ~changeable_flags) != constant_flags_) return flags::of_another_file;
  if ((now & O_NONBLOCK) != 0) return flags::non_blocking;
  is_seen_blocking_.store(true, base::memory_order_relaxed);
  return flags::blocking;
}

bool kernel_eventfd::write(std::uint64_t n) const noexcept {
  ssize_t written = 0;
  do written = ::write(fd_.get(), &n, sizeof n);
  while (written < 0 && errno == EINTR);
  return written == sizeof n;
}

// True if the descriptor is lost: a write then drops the count.
bool kernel_eventfd::has_room(std::chrono::milliseconds timeout) const noexcept {
  const base::uncancelled here;
  if (!fd_.refers_to_its_file()) return true;
  pollfd room{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  return ::poll(&room, 1, static_cast<int>(timeout.count())) == 1 && (room.revents & POLLOUT) != 0;
}

// There is room for less than `n`. Fills the eventfd exactly, unless other threads or processes add or take
// concurrently.
kernel_eventfd::outcome kernel_eventfd::add_by_halves(std::uint64_t n) noexcept {
  std::uint64_t added = 0;
  if (!has_room()) return {.added = 0, .may_block = false};
  for (auto step = n - n / 2; n > 0; step -= step / 2) {
    const auto part = std::min(step, n);
    if (look_at_flags() != flags::non_blocking) return {.added = added, .may_block = true};
    if (write(part)) {
      added += part;
      n -= part;
    }
    if (step == 1) break;
  }
  return {.added = added, .may_block = false};
}

// POLLOUT means that there is room for 1.
std::uint64_t kernel_eventfd::add_one_by_one(std::uint64_t n) const noexcept {
  std::uint64_t added = 0;
  while (added < std::min(n, most_one_by_one) && has_room() && write(1)) ++added;
  return added;
}

// Opens fdinfo again if it cannot be read: it belongs to the thread that opened it, which may have ended.
std::optional<std::uint64_t> kernel_eventfd::room() noexcept {
  auto count = info_.is_ours() ? read_eventfd_count(info_.get()) : std::nullopt;
  if (!count) {
    info_ = base::private_fd{open_fdinfo(fd_.get())};
    if (info_) count = read_eventfd_count(info_.get());
  }
  if (!count) return std::nullopt;
  return eventfd::max - std::min(*count, eventfd::max);
}

}  // namespace doorbell
