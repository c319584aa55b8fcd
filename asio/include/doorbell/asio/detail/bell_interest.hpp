// SPDX-License-Identifier: Apache-2.0
//
// bell_interest: what operations wait for, told by the count alone.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <poll.h>

#include <cstdint>

#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio::detail {

struct bell_interest {
  static constexpr std::uint64_t no_room = UINT64_MAX;  // which a write may not ask for

  unsigned events = 0;           ///< POLLIN, POLLOUT, POLLERR
  std::uint64_t room = no_room;  ///< for so much, which a write is to add

  /// Takes in what an operation that came later waits for. Of writes only the first counts: the others are behind it.
  void add(const bell_interest& later) noexcept {
    events |= later.events;
    if (room == no_room) room = later.room;
  }

  /// Whether some of it is there. With the queue's lock held it stays so; without, it is as it was at some moment.
  [[nodiscard]] bool is_met(const eventfd_ctx& ctx) const noexcept {
    return (ctx.poll() & events) != 0 || room < UINT64_MAX - ctx.count();
  }

  /// Whether nothing can ever meet it.
  [[nodiscard]] bool is_none() const noexcept { return events == 0 && room == no_room; }
};

}  // namespace doorbell::asio::detail
