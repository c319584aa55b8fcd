// SPDX-License-Identifier: Apache-2.0
//
// count_source: a kernel descriptor from which counts of 8 bytes are read. Other processes may share the open file, so
// this class does not change its flags.
//
// Asio makes the descriptors that it waits for non-blocking. O_NONBLOCK is a flag of the open file, which all
// duplicates of the descriptor share: a writer in another process that expects write(2) to block while there is no room
// would get EAGAIN and lose the value. Therefore the loop waits for an epoll instance that contains the descriptor, and
// each read asks the kernel not to block.
//
// Thread safety: as any value type.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/base/unique_fd.hpp>

namespace doorbell::asio::detail {

class count_source {
 public:
  count_source() noexcept = default;
  /// Takes ownership of the descriptor.
  explicit count_source(int fd) noexcept : fd_{fd} {}

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] int release() noexcept { return fd_.release(); }

  /// @return a descriptor that is readable while `fd` is readable, in error or hung up.
  /// Errors: those of epoll_create1(2) and epoll_ctl(2): operation_not_permitted for a descriptor that epoll does not
  /// support, such as a regular file.
  [[nodiscard]] static base::unique_fd make_readiness(int fd, boost::system::error_code& ec) noexcept {
    base::unique_fd readiness{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event readable{.events = EPOLLIN, .data = {}};
    if (!readiness || ::epoll_ctl(readiness.get(), EPOLL_CTL_ADD, fd, &readable) < 0) {
      ec = last_error();
      readiness.reset();
    }
    return readiness;
  }

  /// Takes a count. Does not block if the kernel supports RWF_NOWAIT for the descriptor. Otherwise it may block if
  /// another reader takes the count after poll(2) has reported it.
  /// Errors: would_block; eof if the writers have hung up; bad_message for fewer than 8 bytes; those of read(2).
  [[nodiscard]] std::uint64_t read(boost::system::error_code& ec) const noexcept {
    std::uint64_t count = 0;  // equivalent fault (constant): it is read into, or not looked at
    const auto bytes = read_now(count);
    if (bytes == sizeof count) return count;
    if (bytes < 0)
      ec = errno == EINTR ? boost::asio::error::would_block : last_error();
    else if (bytes == 0)
      ec = boost::asio::error::eof;
    else
      ec = boost::system::errc::make_error_code(boost::system::errc::bad_message);
    return 0;
  }

 private:
  [[nodiscard]] ssize_t read_now(std::uint64_t& count) const noexcept {
    const iovec into{.iov_base = &count, .iov_len = sizeof count};
    const auto bytes = ::preadv2(fd(), &into, 1, -1, RWF_NOWAIT);
    // equivalent fault (comparison): after a hang-up the second read returns 0, too
    if (bytes < 0 && errno == EOPNOTSUPP) return read_if_readable(count);
    if (bytes > 0) tell_sanitizer();
    return bytes;
  }

  // For a timerfd before Linux 6.10.
  [[nodiscard]] ssize_t read_if_readable(std::uint64_t& count) const noexcept {
    pollfd asked{.fd = fd(), .events = POLLIN, .revents = 0};  // equivalent fault (constant): poll(2) writes it
    if (::poll(&asked, 1, 0) != 0) return ::read(fd(), &count, sizeof count);
    errno = EAGAIN;
    return -1;  // equivalent fault (constant): any negative number is an error
  }

  // ThreadSanitizer of g++ 12 does not intercept preadv2, and would not see that the write happens before the read. It
  // intercepts readv, even one that reads nothing.
  void tell_sanitizer() const noexcept {
#if defined(__SANITIZE_THREAD__)
    [[maybe_unused]] const auto nothing = ::readv(fd(), nullptr, 0);
#endif
  }

  base::unique_fd fd_;
};

}  // namespace doorbell::asio::detail
