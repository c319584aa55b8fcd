// SPDX-License-Identifier: Apache-2.0
//
// For programs linked with a libaio older than 0.4: three functions, two of which had other arguments then. The C names
// are arbitrary: .symver sets the exported ones.
#include "entry_points.hpp"

using doorbell::libaio::aio_context_t;
using doorbell::libaio::io_event;
using doorbell::libaio::iocb_abi;

extern "C" {

// Waits for at least one event.
DOORBELL_EXPORT int io_getevents_0_1(aio_context_t handle, long nr, io_event* events, timespec* timeout) {
  return ::io_getevents(handle, 1, nr, events, timeout);
}

// This version has no argument for the event: the event comes through the ring.
DOORBELL_EXPORT int io_cancel_0_1(aio_context_t handle, iocb_abi* request) {
  io_event unused;
  return ::io_cancel(handle, request, &unused);
}

DOORBELL_EXPORT int io_queue_wait_0_1(aio_context_t handle, timespec* timeout) {
  return ::io_queue_wait(handle, timeout);
}
}

__asm__(".symver io_getevents_0_1, io_getevents@LIBAIO_0.1");
__asm__(".symver io_cancel_0_1, io_cancel@LIBAIO_0.1");
__asm__(".symver io_queue_wait_0_1, io_queue_wait@LIBAIO_0.1");
