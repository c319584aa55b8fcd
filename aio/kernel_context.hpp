// SPDX-License-Identifier: Apache-2.0
//
// kernel_context: the contexts of the kernel's own AIO (io_setup(2)) that this library makes for itself, and the rings
// that the kernel maps for them.
//
// The calls are made by the instruction (kernel_call.hpp): libaio's functions of these names, and syscall(3), may be
// the ones that this library replaces.
//
// Thread safety: all functions may be called concurrently. Async-signal-safe.
#pragma once

#include <cstdint>
#include <span>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/atomic.hpp>

namespace doorbell::aio::kernel_context {

/// aio_context_t: the address of the context's ring. 0: none.
using handle = std::uintptr_t;

/// The header of a ring. The events follow it.
struct mapped_ring {
  unsigned id;
  unsigned nr;
  unsigned head;
  unsigned tail;
  unsigned magic;
  unsigned compatible_features;
  unsigned incompatible_features;
  unsigned header_length;
};

inline mapped_ring& ring_of(handle context) noexcept { return *reinterpret_cast<mapped_ring*>(context); }

/// The slot after the newest event. Acquire: the events before it are there.
inline unsigned tail_of(handle context) noexcept {
  auto& ring = ring_of(context);
  return base::atomic_ref<unsigned>{ring.tail}.load(base::memory_order_acquire) % ring.nr;
}

/// Makes a context for `nr` requests, and notes it as one of ours.
/// @return 0: there is none, and errno says why: as io_setup(2) does, or ENOSYS if the ring has another layout.
[[nodiscard]] handle create(unsigned nr) noexcept;
/// Sleeps for tens of milliseconds (io_destroy(2)).
void destroy(handle context) noexcept;
/// As io_submit(2). @return how many were submitted; -1 and errno.
long submit(handle context, std::span<iocb_abi* const> iocbs) noexcept;

/// Whether it is a context that create() has made, or may be: there are too many to know each.
[[nodiscard]] bool is_own(handle context) noexcept;

/// Whether the system has refused io_setup(2) or io_submit(2). Then no further context is made.
[[nodiscard]] bool is_refused() noexcept;
/// Looks at errno after one of these has failed. @return whether it is a refusal, and not a shortage.
bool note_refusal() noexcept;

/// In a fork's child, which has none of its parent's contexts.
void forget_all_in_child() noexcept;

}  // namespace doorbell::aio::kernel_context
