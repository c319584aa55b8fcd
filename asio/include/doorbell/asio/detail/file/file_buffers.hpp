// SPDX-License-Identifier: Apache-2.0
//
// Converts Asio's buffer sequences to the kernel's iovecs.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <type_traits>

#include <boost/asio/buffer.hpp>

#include <doorbell/aio_iocb.hpp>

namespace doorbell::asio::detail {

/// The greatest number of buffers of a sequence that one call transfers; as in Boost.Asio.
inline constexpr std::size_t max_buffers = 64;

template <class Buffers>
inline constexpr std::size_t buffers_in =
    std::is_convertible_v<const Buffers&, boost::asio::const_buffer> ? 1 : max_buffers;

[[nodiscard]] inline iovec vector_of(boost::asio::mutable_buffer buffer) noexcept {
  return {.iov_base = buffer.data(), .iov_len = buffer.size()};
}
[[nodiscard]] inline iovec vector_of(boost::asio::const_buffer buffer) noexcept {
  return {.iov_base = const_cast<void*>(buffer.data()), .iov_len = buffer.size()};
}

/// Copies the buffers that are not empty to `room`, as many as fit. @return the part of `room` that was filled.
/// @tparam Buffer mutable_buffer or const_buffer.
template <class Buffer, class Buffers>
[[nodiscard]] std::span<iovec> fill(std::span<iovec> room, const Buffers& buffers) {
  std::size_t filled = 0;
  const auto end = boost::asio::buffer_sequence_end(buffers);
  for (auto at = boost::asio::buffer_sequence_begin(buffers); at != end && filled < room.size(); ++at) {
    const Buffer each{*at};
    if (each.size() > 0) room[filled++] = vector_of(each);
  }
  return room.first(filled);
}

/// Fills in a default-constructed request as a transfer of these buffers. A single buffer needs no iovec list. The
/// request is filled in place: copying a request that has just been written costs as much as the rest of the start.
inline void ask_for_transfer(aio::iocb& request, bool reads, int fd, std::span<const iovec> vectors) noexcept {
  using aio::opcode;
  // equivalent fault (comparison): a list of one buffer transfers the same bytes
  const bool is_list = vectors.size() > 1;
  const auto one = vectors.empty() ? iovec{} : vectors.front();
  const auto plain = reads ? opcode::pread : opcode::pwrite;
  const auto vectored = reads ? opcode::preadv : opcode::pwritev;
  request.lio_opcode = static_cast<std::uint16_t>(is_list ? vectored : plain);
  request.fildes = fd;
  request.buf = reinterpret_cast<std::uintptr_t>(is_list ? static_cast<const void*>(vectors.data()) : one.iov_base);
  request.nbytes = is_list ? vectors.size() : one.iov_len;
}

}  // namespace doorbell::asio::detail
