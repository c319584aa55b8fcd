// SPDX-License-Identifier: Apache-2.0
//
// Blocking reads and writes.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <poll.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/file/file_buffers.hpp>
#include <doorbell/asio/detail/file/open_file.hpp>
#include <doorbell/asio/detail/support/errors.hpp>

namespace doorbell::asio::detail {

/// The offset of a transfer, in bytes after the start of the file; none for a file without a position, such as a pipe.
using file_offset = std::optional<std::uint64_t>;

[[nodiscard]] inline ssize_t read_once(int fd, file_offset at, std::span<const iovec> vectors) noexcept {
  const auto count = static_cast<int>(vectors.size());
  return at ? ::preadv(fd, vectors.data(), count, static_cast<off_t>(*at)) : ::readv(fd, vectors.data(), count);
}
[[nodiscard]] inline ssize_t write_once(int fd, file_offset at, std::span<const iovec> vectors) noexcept {
  const auto count = static_cast<int>(vectors.size());
  return at ? ::pwritev(fd, vectors.data(), count, static_cast<off_t>(*at)) : ::writev(fd, vectors.data(), count);
}

/// Repeats `transfer` until it succeeds or fails: if a non-blocking descriptor is not ready, waits with poll(2). A
/// signal handler interrupts the wait.
template <class Transfer>
[[nodiscard]] std::size_t transfer_blocking(Transfer transfer, int fd, short events, error_code& ec) {
  for (;;) {
    const ssize_t done = transfer();
    ec = done >= 0 ? error_code{} : last_error();
    // equivalent fault (comparison): 0 bytes are 0 in either branch
    if (ec != boost::asio::error::would_block) return done >= 0 ? static_cast<std::size_t>(done) : 0;
    pollfd ready{.fd = fd, .events = events, .revents = 0};  // equivalent fault (constant): poll(2) writes it
    // equivalent fault (comparison): without a timeout poll(2) does not return 0
    if (::poll(&ready, 1, -1) >= 0) continue;
    ec = last_error();
    return 0;
  }
}

template <class Buffers>
[[nodiscard]] std::size_t read_blocking(int fd, file_offset at, const Buffers& buffers, error_code& ec) {
  std::array<iovec, buffers_in<Buffers>> room;
  const auto vectors = fill<boost::asio::mutable_buffer>(room, buffers);
  const auto bytes = transfer_blocking([&] { return read_once(fd, at, vectors); }, fd, POLLIN, ec);
  if (!ec && bytes == 0 && !vectors.empty()) ec = boost::asio::error::eof;
  return bytes;
}

template <class Buffers>
[[nodiscard]] std::size_t write_blocking(int fd, file_offset at, const Buffers& buffers, error_code& ec) {
  std::array<iovec, buffers_in<Buffers>> room;
  const auto vectors = fill<boost::asio::const_buffer>(room, buffers);
  return transfer_blocking([&] { return write_once(fd, at, vectors); }, fd, POLLOUT, ec);
}

}  // namespace doorbell::asio::detail
