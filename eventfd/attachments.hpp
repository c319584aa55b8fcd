// SPDX-License-Identifier: Apache-2.0
//
// attachments: the entries on an eventfd's queue that belong to the eventfd itself, at most one of each kind. Most
// eventfds have none, so an eventfd_ctx has one pointer to them. The pointer also saves a search of the queue, which
// may be long.
//
// Thread safety: guarded by the eventfd's lock.
// Lifetime: from the first poll_fd() or forward_to() until the eventfd_ctx is freed.
#pragma once

#include <cstdint>

#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

struct eventfd_ctx::attachments {
  poll_bridge* bridge = nullptr;    // until the last close
  forwarder* forwarding = nullptr;  // until stop_forwarding() or the last close
  // Counts on their way to a kernel eventfd. They are not part of the count, but may return to it, so room is kept for
  // them.
  std::uint64_t in_flight = 0;
};

}  // namespace doorbell
