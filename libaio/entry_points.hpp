// SPDX-License-Identifier: Apache-2.0
//
// libaio's functions, for programs in C that were linked with libaio and do not know doorbell. They return as libaio's
// do: 0 or a count, or a negative errno. They do not change errno.
//
// Thread safety: all functions may be called concurrently, also for the same context.
// Cancellation: like libaio's functions, they are no cancellation points, although functions that they call may be
// (uncancelled_call.hpp).
// Stack: a few kilobytes; the caller's stack may be as small as PTHREAD_STACK_MIN.
#pragma once

#include <csignal>
#include <ctime>

#include <doorbell/aio_calls.hpp>

namespace doorbell::libaio {

using aio::aio_context_t;  // libaio's io_context_t is an opaque pointer, which is passed in the same way
using aio::io_event;
using aio::iocb_abi;

/// The function that io_queue_run() calls for a request. The request's `data` points to it.
using completion = void (*)(aio_context_t, iocb_abi*, long res, long res2);

}  // namespace doorbell::libaio

extern "C" {
// Version LIBAIO_0.1.
DOORBELL_EXPORT int io_queue_init(int nr_events, doorbell::libaio::aio_context_t* handle);
DOORBELL_EXPORT int io_queue_release(doorbell::libaio::aio_context_t handle);
DOORBELL_EXPORT int io_queue_run(doorbell::libaio::aio_context_t handle);
DOORBELL_EXPORT int io_submit(doorbell::libaio::aio_context_t handle, long nr, doorbell::libaio::iocb_abi** iocbs);
// LIBAIO_0.4.
DOORBELL_EXPORT int io_setup(int nr_events, doorbell::libaio::aio_context_t* handle);
DOORBELL_EXPORT int io_destroy(doorbell::libaio::aio_context_t handle);
DOORBELL_EXPORT int io_cancel(doorbell::libaio::aio_context_t handle, doorbell::libaio::iocb_abi* request,
                              doorbell::libaio::io_event* result);
DOORBELL_EXPORT int io_getevents(doorbell::libaio::aio_context_t handle, long min, long nr,
                                 doorbell::libaio::io_event* events, timespec* timeout);
DOORBELL_EXPORT int io_queue_wait(doorbell::libaio::aio_context_t handle, timespec* timeout);
// LIBAIO_0.5.
DOORBELL_EXPORT int io_pgetevents(doorbell::libaio::aio_context_t handle, long min, long nr,
                                  doorbell::libaio::io_event* events, timespec* timeout, const sigset_t* sigmask);
}
