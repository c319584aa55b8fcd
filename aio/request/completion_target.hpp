// SPDX-License-Identifier: Apache-2.0
//
// completion_target: the eventfd that a request signals when it completes.
#pragma once

#include <cstdint>

#include "../resfd/resfd.hpp"

namespace doorbell::aio {

struct completion_target {
  /// Signals it. A kernel eventfd stops at 2^64-1, as with the kernel's own AIO. If the system refuses the kernel's
  /// AIO, a count that does not fit is added as soon as the program has read.
  void signal(std::uint64_t times) const noexcept;
  /// The same in a verified_scope of the descriptor (private_fd.hpp), by fewer system calls.
  void signal_verified(std::uint64_t times) const noexcept;

  eventfd_ctx_ptr eventfd;          ///< pins the eventfd_ctx, not its file; null: none
  resfd_target_ptr kernel_eventfd;  ///< to which `eventfd` forwards; null: it does not forward

 private:
  void forward_the_rest() const noexcept;
};

}  // namespace doorbell::aio
