// SPDX-License-Identifier: Apache-2.0
//
// Contexts of the kernel's AIO that the program has made itself, past doorbell: by the instruction, or before doorbell
// was loaded.
#pragma once

#include <doorbell/aio_calls.hpp>

namespace doorbell::aio {

/// Whether a call by handle, answered by -EINVAL, may be for the kernel: `handle` is neither a context of ours, nor one
/// that our contexts use themselves.
/// Thread safety: may be called concurrently, and in signal handlers.
[[nodiscard]] bool may_be_foreign(aio_context_t handle) noexcept;

}  // namespace doorbell::aio
