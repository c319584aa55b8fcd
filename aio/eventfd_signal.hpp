// SPDX-License-Identifier: Apache-2.0
//
// eventfd_signal: adds to an eventfd by its number, without ever writing to another file that the program has put at
// that number.
//
//   a thread of the library              a thread of the program
//   the number is an eventfd: yes
//                                        close(number); opens a file, which gets the number
//   write(number): 8 bytes in the file
//
//   forbidden: the above. No look before the write prevents it. So the count is added by io_submit(2), as
//              IOCB_FLAG_RESFD: the kernel takes the eventfd that the number refers to, or fails with EBADF or EINVAL.
//
// The request that carries the flag is a read of 0 bytes from the eventfd. An eventfd refuses it with EINVAL at once,
// which completes the request, and each request that completes adds 1. The process has one context of the kernel's AIO
// for all such requests. Nobody reads their events: a thread that has submitted some moves the head of the ring to its
// tail. If it stores an older tail than another thread has stored, the kernel takes slots to be in use that are free,
// until the next signal.
//
// If another eventfd gets the number after the look that comes first, it is signalled instead.
//
// As for the kernel's own AIO, an eventfd stops at 2^64-1, and no signal sleeps, whether or not O_NONBLOCK is set.
//
// Thread safety: all functions may be called concurrently. Async-signal-safe. Memory ordering: what the caller did
// before is seen by a thread that reads the count; the kernel orders them.
#pragma once

#include <cstdint>

#include <doorbell/base/private_fd.hpp>

namespace doorbell::aio::eventfd_signal {

/// Adds `n`. A count for a descriptor that the program has closed is dropped, because no way to the eventfd is left.
/// @return how much of it the caller has to add by other means: 0, unless the system refuses io_setup(2) or
/// io_submit(2), or has no context or no memory left (fs.aio-max-nr).
[[nodiscard]] std::uint64_t add(const base::private_fd& eventfd, std::uint64_t n) noexcept;

/// In a fork's child, which has none of its parent's contexts.
void forget_context_in_child() noexcept;

}  // namespace doorbell::aio::eventfd_signal
