// SPDX-License-Identifier: Apache-2.0
//
// io_setup and the others, with the kernel's arguments and the kernel's answers: 0 or a count, or a negative errno; errno
// itself is not touched. For those who keep handles and raw iocbs; aio.hpp is the same for C++.
//
// Thread safety: all, at once, on any context. In a callback: io_destroy, and io_getevents where it may wait, answer
// -EDEADLK at once.
// In a signal handler that has interrupted another call of the same thread: -EAGAIN, io_getevents and io_pgetevents -EINTR,
// without any effect; but all calls work where that one sleeps in io_getevents.
// Pointers: null and addresses in the kernel's half answer as the man pages say; other pointers to nothing are the
// program's own fault, as with any library. With DOORBELL_STRICT=1 in the environment each is tried first, by system calls,
// and those answer -EFAULT, too.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <csignal>
#include <cstddef>
#include <ctime>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/export.hpp>

namespace doorbell::aio {

/// A context: the address of its ring. 0 is none.
using aio_context_t = unsigned long;

/// What io_pgetevents takes for the signals to block while it waits.
struct aio_sigset {
  const sigset_t* sigmask;
  std::size_t sigsetsize;  ///< bytes: 8, the kernel's sigset_t
};

/// Source: io_setup(2). -EFAULT, -EINVAL (*handle not 0, nr_events 0 or too many for a ring), -EAGAIN (too many for this
/// process), -ENOMEM, -EMFILE.
DOORBELL_EXPORT int io_setup(unsigned nr_events, aio_context_t* handle) noexcept;

/// Source: io_destroy(2). -EINVAL when there is no such context, or it is being destroyed.
DOORBELL_EXPORT int io_destroy(aio_context_t handle) noexcept;

/// Source: io_submit(2). resfd is a kernel eventfd's descriptor.
/// @return how many were taken, or the first one's error.
DOORBELL_EXPORT int io_submit(aio_context_t handle, long nr, iocb_abi** iocbs) noexcept;

/// Source: io_cancel(2). -EINPROGRESS: under way, the event comes through the ring; `result` is not used. -EAGAIN: not
/// cancelled, for want of memory.
DOORBELL_EXPORT int io_cancel(aio_context_t handle, iocb_abi* request, io_event* result) noexcept;

/// Source: io_getevents(2). @return how many events.
DOORBELL_EXPORT int io_getevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout) noexcept;

/// Source: io_pgetevents(2).
DOORBELL_EXPORT int io_pgetevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout,
                                  const aio_sigset* blocked) noexcept;

/// What this process's contexts have asked for together, and may: /proc/sys/fs/aio-nr and aio-max-nr, for it alone.
[[nodiscard]] DOORBELL_EXPORT std::size_t aio_nr() noexcept;
[[nodiscard]] DOORBELL_EXPORT std::size_t aio_max_nr() noexcept;

/// Waits until the file I/O (reads, writes and syncs of files and block devices) that this process's contexts, those of
/// aio::context included, have accepted is carried out. Events stay where they are, and requests that wait for a pipe, a
/// socket, a terminal or a poll are not waited for. Meanwhile submissions of file I/O by other threads wait.
///
/// The library does this itself when the process ends by a return from main(), exit(3) or quick_exit(3). A program that
/// ends by _exit(2) or execve(2) calls it before; the drop-in libaio.so.1 does it there, too.
///
/// May be called concurrently, in callbacks and in signal handlers. In a callback, or in a handler that has interrupted a
/// call of doorbell's, it returns when no request has been completed for a second, because the interrupted call may hold
/// what they need. It takes no lock, does not change errno, and returns immediately in a child of vfork(2), clone(2) or
/// fork(2) that has no contexts of its own.
/// Source: exit_aio() in the kernel, which waits for accepted AIO at exit(2) and execve(2).
DOORBELL_EXPORT void finish_file_io() noexcept;

}  // namespace doorbell::aio
