// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>

#include <doorbell/base/unique_fd.hpp>
#include <doorbell/eventfd.hpp>

#include "require.hpp"

namespace doorbell::fuzz {

/// An eventfd of an input, and the sums of the counts that all threads have added and taken.
struct fuzzed_eventfd {
  fuzzed_eventfd() { require(there.get() > 2, "an eventfd can be created"); }

  /// Called before each input.
  void renew(int flags) {
    first = eventfd{0, flags};
    ctx = first.context();
    may_block = (flags & EFD_NONBLOCK) == 0;
    saturates = false;
    added = 0;
    taken = 0;
  }

  /// Takes the forwarded counts.
  void take_from_there() noexcept {
    eventfd_t count = 0;
    if (::eventfd_read(there.get(), &count) == 0) taken += count;
  }

  /// Requires that the added counts were taken or are left. Called when all handles are closed.
  void check_sum() {
    take_from_there();
    const auto left = ctx->count();
    require(saturates || added == taken + left, "the counts read and left are the counts signalled",
            static_cast<long long>(added - taken - left));
  }

  eventfd first;        // all other handles are copies of it
  eventfd_ctx_ptr ctx;  // for the remaining count when no handle is left
  bool may_block = true;
  bool saturates = false;  // the input adds so much that counts may be lost by saturation
  std::atomic<std::uint64_t> added{0};
  std::atomic<std::uint64_t> taken{0};
  const base::unique_fd there{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};  // the target of forwarding
};

}  // namespace doorbell::fuzz
