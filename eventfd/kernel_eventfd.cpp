// SPDX-License-Identifier: Apache-2.0
#include "kernel_eventfd.hpp"

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

// So many are added by one call without fdinfo, each with two system calls; the rest is added later.
constexpr std::uint64_t most_one_by_one = 1024;

}  // namespace

// The kernel refuses a descriptor of O_PATH as if it were closed.
bool kernel_eventfd::open(int fd, std::error_code& ec) noexcept {
  fd_ = base::private_fd::duplicate_of(fd);
  if (!fd_) {
    ec.assign(errno, std::system_category());
  } else if (!is_eventfd(fd_.get())) {
    const bool is_path = (::fcntl(fd_.get(), F_GETFL) & O_PATH) != 0;
    ec = std::make_error_code(is_path ? std::errc::bad_file_descriptor : std::errc::invalid_argument);
  }
  return !ec;
}

// A write must not block, whatever the flags of the eventfd are: they are shared with its maker, and not ours to
// change. No write to an eventfd takes flags of its own (pwritev2(2) with RWF_NOWAIT is EOPNOTSUPP), so there must be
// room for it beforehand.
std::uint64_t kernel_eventfd::add(std::uint64_t n) noexcept {
  // The program has closed our descriptor, and perhaps uses its number. No way to the eventfd is left, so the count is
  // dropped instead of being kept for ever.
  if (!fd_.is_ours()) return n;
  if (!may_block()) return write(n) ? n : add_by_halves(n);
  if (n == 1) return add_one_by_one(n);
  const auto there_is = room();
  if (!there_is) return add_one_by_one(n);
  const auto fits = std::min(n, *there_is);
  return fits > 0 && write(fits) ? fits : 0;
}

// O_NONBLOCK is taken to stay set for a while: wrong only if it is cleared while the eventfd is nearly full.
bool kernel_eventfd::may_block() noexcept {
  if (believed_ == 0) {
    if ((::fcntl(fd_.get(), F_GETFL) & O_NONBLOCK) == 0) return true;
    believed_ = 64;
  }
  --believed_;
  return false;
}

bool kernel_eventfd::write(std::uint64_t n) const noexcept {
  ssize_t written = 0;
  do written = ::write(fd_.get(), &n, sizeof n);
  while (written < 0 && errno == EINTR);
  return written == sizeof n;
}

bool kernel_eventfd::has_room() const noexcept {
  pollfd room{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  return ::poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0;
}

// O_NONBLOCK is set, and there is room for less than `n`. Exact, unless others add or take concurrently.
std::uint64_t kernel_eventfd::add_by_halves(std::uint64_t n) const noexcept {
  std::uint64_t added = 0;
  if (!has_room()) return added;
  for (auto step = n - n / 2; n > 0; step -= step / 2) {
    const auto part = std::min(step, n);
    if (write(part)) {
      added += part;
      n -= part;
    }
    if (step == 1) break;
  }
  return added;
}

// POLLOUT promises room for 1.
std::uint64_t kernel_eventfd::add_one_by_one(std::uint64_t n) const noexcept {
  std::uint64_t added = 0;
  while (added < std::min(n, most_one_by_one) && has_room() && write(1)) ++added;
  return added;
}

// The text that was opened first belongs to a thread, which may have ended.
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
