// SPDX-License-Identifier: Apache-2.0
//
// eventfd_interest: the conditions that operations wait for. They depend on the count only.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <poll.h>

#include <cstdint>

#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio::detail {

struct eventfd_interest {
  static constexpr std::uint64_t no_write = UINT64_MAX;  // a value that no write can add

  unsigned events = 0;            ///< POLLIN, POLLOUT, POLLERR
  std::uint64_t room = no_write;  ///< the value that the first write adds, or no_write

  /// Adds the conditions of an operation that was started later. Of all writes only the first counts, since the others
  /// are executed after it.
  void add(const eventfd_interest& later) noexcept {
    events |= later.events;
    if (room == no_write) room = later.room;
  }

  /// Whether one of the conditions holds. If the caller holds the queue lock, the result stays valid; otherwise it held
  /// at some moment during the call.
  [[nodiscard]] bool is_met(const eventfd_ctx& ctx) const noexcept {
    return (ctx.poll() & events) != 0 || room < UINT64_MAX - ctx.count();
  }

  /// Whether there is no condition, so that the operation would never end.
  [[nodiscard]] bool is_none() const noexcept { return events == 0 && room == no_write; }
};

}  // namespace doorbell::asio::detail
