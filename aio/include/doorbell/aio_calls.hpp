// SPDX-License-Identifier: Apache-2.0
//
// io_setup and the other calls, with the kernel's arguments and results: 0 or a count, or a negative errno; errno
// itself is not changed. For programs that keep handles and raw iocbs; aio.hpp is the same interface for C++.
//
// Thread safety: all functions may be called concurrently, on any context. In a callback, io_destroy returns -EDEADLK
// immediately, and so do io_getevents and io_pgetevents if they may wait.
// Signal handlers: in a handler that has interrupted another call of the same thread, the io_ calls have no effect and
// return -EAGAIN (io_getevents and io_pgetevents -EINTR). If the interrupted call sleeps in io_getevents, all calls
// work.
// Pointers: for null and for addresses in the kernel's half, calls return the errors in the man pages; other invalid
// pointers are undefined behaviour. With DOORBELL_STRICT=1 in the environment, each pointer is first tried by system
// calls, and every invalid one causes -EFAULT.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <csignal>
#include <cstddef>
#include <ctime>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/export.hpp>

namespace doorbell::aio {

/// A context: the address of its ring. 0 is not a context.
using aio_context_t = unsigned long;

/// The argument of io_pgetevents that gives the signals to block while it waits.
struct aio_sigset {
  const sigset_t* sigmask;
  std::size_t sigsetsize;  ///< bytes: 8, the kernel's sigset_t
};

/// Source: io_setup(2). -EFAULT, -EINVAL (*handle not 0, nr_events 0 or too many for a ring), -EAGAIN (too many for
/// this process), -ENOMEM, -EMFILE.
DOORBELL_EXPORT int io_setup(unsigned nr_events, aio_context_t* handle) noexcept;

/// Source: io_destroy(2). -EINVAL if there is no such context, or another thread is destroying it.
DOORBELL_EXPORT int io_destroy(aio_context_t handle) noexcept;

/// Source: io_submit(2). resfd is a kernel eventfd's descriptor.
/// @return how many requests were taken, or the error of the first one.
DOORBELL_EXPORT int io_submit(aio_context_t handle, long nr, iocb_abi** iocbs) noexcept;

/// Source: io_cancel(2). -EINPROGRESS: the cancellation is in progress, and the event comes through the ring; `result`
/// is not used. -EAGAIN: not cancelled, because there is no memory for it.
DOORBELL_EXPORT int io_cancel(aio_context_t handle, iocb_abi* request, io_event* result) noexcept;

/// Source: io_getevents(2). @return how many events.
DOORBELL_EXPORT int io_getevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout) noexcept;

/// Source: io_pgetevents(2).
DOORBELL_EXPORT int io_pgetevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout,
                                  const aio_sigset* blocked) noexcept;

/// The number of requests that this process's contexts have reserved together, and its maximum, as /proc/sys/fs/aio-nr
/// and aio-max-nr, for this process only.
[[nodiscard]] DOORBELL_EXPORT std::size_t aio_nr() noexcept;
[[nodiscard]] DOORBELL_EXPORT std::size_t aio_max_nr() noexcept;

/// Waits until the file I/O (reads, writes and syncs of files and block devices) that this process's contexts have
/// accepted, including those of aio::context, is carried out. Events stay in their rings. Does not wait for requests
/// that wait for a pipe, a socket, a terminal or a poll. Meanwhile submissions of file I/O by other threads wait.
///
/// The library calls it when the process ends by a return from main(), exit(3) or quick_exit(3). A program that ends by
/// _exit(2) or execve(2) must call it before; the drop-in libaio.so.1 calls it there, too.
///
/// May be called concurrently, in callbacks and in signal handlers. In a callback, or in a handler that has interrupted
/// a doorbell call, it also returns when no request has been completed for a second, because the interrupted call may
/// hold locks that the requests need. In these two cases it takes no lock and calls no callback. In all other cases it
/// may complete requests, and so take locks and call callbacks. It does not change errno, and returns immediately in a
/// child of vfork(2), clone(2) or fork(2) that has no contexts of its own.
/// Source: exit_aio() in the kernel, which waits for accepted AIO at exit(2) and execve(2).
DOORBELL_EXPORT void finish_file_io() noexcept;

}  // namespace doorbell::aio
