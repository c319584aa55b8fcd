// SPDX-License-Identifier: Apache-2.0
//
// Contexts of the kernel's AIO that the program has created without doorbell: by the system call instruction, or before
// doorbell was loaded.
#pragma once

#include <doorbell/aio_calls.hpp>

namespace doorbell::aio {

/// Whether a call by handle that has failed with -EINVAL may be meant for the kernel: `handle` is neither a context of
/// doorbell nor a context of the kernel's AIO that doorbell uses itself.
/// Thread safety: may be called concurrently, and in signal handlers.
[[nodiscard]] bool may_be_foreign(aio_context_t handle) noexcept;

}  // namespace doorbell::aio
