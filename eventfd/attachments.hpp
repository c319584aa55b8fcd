// SPDX-License-Identifier: Apache-2.0
//
// attachments: the entries on an eventfd's queue that belong to the eventfd itself, one of each kind at most. Most
// eventfds have none, so an eventfd_ctx has one pointer to them; it finds them without searching its queue, which may
// be long.
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
  // Counts on their way to a kernel eventfd. They are not in the count, but may come back to it, so they take up room.
  std::uint64_t in_flight = 0;
};

}  // namespace doorbell
