// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>

#include <doorbell/base/unique_fd.hpp>
#include <doorbell/eventfd.hpp>

#include "require.hpp"

namespace doorbell::fuzz {

/// An eventfd of an input, and the sums that all threads have added to it and taken.
struct fuzzed_bell {
  fuzzed_bell() { require(there.get() > 2, "there are eventfds to fuzz with"); }

  /// Before each input.
  void renew(int flags) {
    first = eventfd{0, flags};
    ctx = first.context();
    may_block = (flags & EFD_NONBLOCK) == 0;
    saturates = false;
    added = 0;
    taken = 0;
  }

  /// Takes what has been forwarded.
  void take_from_there() noexcept {
    eventfd_t count = 0;
    if (::eventfd_read(there.get(), &count) == 0) taken += count;
  }

  /// When all handles are closed: requires that the added counts were taken or are left.
  void check_sum() {
    take_from_there();
    const auto left = ctx->count();
    require(saturates || added == taken + left, "what is read and what is left is what was signalled",
            static_cast<long long>(added - taken - left));
  }

  eventfd first;        // the handle that all others are copies of
  eventfd_ctx_ptr ctx;  // to count what is left when there is no handle any more
  bool may_block = true;
  bool saturates = false;  // the input adds so much that counts get lost, as they should
  std::atomic<std::uint64_t> added{0};
  std::atomic<std::uint64_t> taken{0};
  const base::unique_fd there{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};  // the eventfd that it forwards to
};

}  // namespace doorbell::fuzz
