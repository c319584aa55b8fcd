// SPDX-License-Identifier: Apache-2.0
//
// From Asio's sequences of buffers to the kernel's.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <type_traits>

#include <boost/asio/buffer.hpp>

#include <doorbell/aio_iocb.hpp>

namespace doorbell::asio::detail {

/// How many buffers of a sequence go into one call, at the most; as in Boost.Asio.
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

/// The buffers that are not empty, as many as there is room for. @return them.
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

/// The request for them, at the beginning. One buffer needs no list.
[[nodiscard]] inline aio::iocb transfer_of(bool reads, int fd, std::span<const iovec> vectors) noexcept {
  if (vectors.size() > 1) return reads ? aio::prep_preadv(fd, vectors, 0) : aio::prep_pwritev(fd, vectors, 0);
  const auto one = vectors.empty() ? iovec{} : vectors.front();
  return reads ? aio::prep_pread(fd, one.iov_base, one.iov_len, 0) : aio::prep_pwrite(fd, one.iov_base, one.iov_len, 0);
}

}  // namespace doorbell::asio::detail
