// SPDX-License-Identifier: Apache-2.0
//
// kernel_context: the contexts of the kernel's own AIO (io_setup(2)) that this library creates for itself, and the
// rings that the kernel maps for them.
//
// The system calls are made by the processor's instruction (kernel_call.hpp), because this library may replace libaio's
// functions of these names, and syscall(2).
//
// Thread safety: all functions may be called concurrently. Async-signal-safe.
#pragma once

#include <cstdint>
#include <span>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/atomic.hpp>

#include "ring_header.hpp"

namespace doorbell::aio::kernel_context {

/// aio_context_t: the address of the context's ring. 0: none.
using handle = std::uintptr_t;

inline ring_header& ring_of(handle context) noexcept { return *reinterpret_cast<ring_header*>(context); }

/// The slot after the newest event. Acquire: the events before it are visible.
inline unsigned tail_of(handle context) noexcept {
  auto& ring = ring_of(context);
  return base::atomic_ref<unsigned>{ring.tail}.load(base::memory_order_acquire) % ring.nr;
}

/// Creates a context for `nr` requests, and records it as one of the library's.
/// @return 0: there is no context, and errno is that of io_setup(2), or ENOSYS if the ring has an unknown layout.
[[nodiscard]] handle create(unsigned nr) noexcept;
/// Sleeps for tens of milliseconds (io_destroy(2)).
void destroy(handle context) noexcept;
/// As io_submit(2). @return the number of submitted requests; -1 and errno.
long submit(handle context, std::span<iocb_abi* const> iocbs) noexcept;

/// Whether create() has made the context. Also true if it cannot tell, because it has made more contexts than it
/// records.
[[nodiscard]] bool is_own(handle context) noexcept;

/// Whether the system has refused io_setup(2) or io_submit(2). Then no further context is created.
[[nodiscard]] bool is_refused() noexcept;
/// Checks errno after one of these calls has failed. @return whether the error is a refusal, not a shortage.
bool note_refusal() noexcept;

/// In a child of fork(2), which has none of its parent's contexts.
void forget_all_in_child() noexcept;

}  // namespace doorbell::aio::kernel_context
