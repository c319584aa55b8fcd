// SPDX-License-Identifier: Apache-2.0
//
// eventfd_signal: adds to an eventfd by its number, and never writes to another file that the program has put at that
// number.
//
//   a thread of the library              a thread of the program
//   the number is an eventfd: yes
//                                        close(number); opens a file, which gets the number
//   write(number): 8 bytes in the file
//
//   forbidden: this interleaving. No check before the write prevents it. So io_submit(2) adds the count
//              (IOCB_FLAG_RESFD): the kernel takes the eventfd that the number refers to, or fails with EBADF or
//              EINVAL.
//
// The flag needs a request. add() submits a read of 0 bytes from the eventfd: the read fails immediately with EINVAL,
// and the kernel adds 1 for each request that ends. One context of the kernel's AIO serves the whole process. No thread
// reads its events: each thread that has submitted requests moves the head of the ring to the tail.
//
//   thread A                             thread B
//   submits; reads the tail: 5
//                                        submits; reads the tail: 6; stores the head: 6
//   stores the head: 5
//
//   legal:     the head is older than the tail: the kernel counts free slots as used until the next signal. If it has
//              no slot left, add() stores the head and tries once more.
//   forbidden: the kernel overwrites an event that a thread needs. No thread needs any of these events.
//
// add() checks the number first. If the program puts another eventfd there after the check, the kernel signals that
// eventfd.
//
// The count stops at 2^64-1, as for contexts of the kernel. add() never sleeps, whether or not O_NONBLOCK is set.
//
// Thread safety: all functions may be called concurrently. Async-signal-safe. Memory ordering: a thread that reads the
// count sees what the caller did before; the kernel orders them.
#pragma once

#include <cstdint>

#include <doorbell/base/private_fd.hpp>

namespace doorbell::aio::eventfd_signal {

/// Adds `n`. If the program has closed the descriptor, drops the count, because there is no way to the eventfd any
/// more.
/// @return the part of `n` that the caller must add by other means: 0, unless the system refuses io_setup(2),
/// io_submit(2) or such reads, or has no context or no memory left (fs.aio-max-nr).
[[nodiscard]] std::uint64_t add(const base::private_fd& eventfd, std::uint64_t n) noexcept;

/// In a child of fork(2), which has none of its parent's contexts.
void forget_context_in_child() noexcept;

}  // namespace doorbell::aio::eventfd_signal
