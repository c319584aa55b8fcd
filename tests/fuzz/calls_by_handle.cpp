// SPDX-License-Identifier: Apache-2.0
#include "calls.hpp"

namespace doorbell::fuzz::calls {

int setup(unsigned nr_events, aio::aio_context_t* handle) noexcept { return aio::io_setup(nr_events, handle); }

int destroy(aio::aio_context_t handle) noexcept { return aio::io_destroy(handle); }

int submit(aio::aio_context_t handle, long nr, aio::iocb_abi** iocbs) noexcept {
  return aio::io_submit(handle, nr, iocbs);
}

int cancel(aio::aio_context_t handle, aio::iocb_abi* request, aio::io_event* result) noexcept {
  return aio::io_cancel(handle, request, result);
}

int getevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout) noexcept {
  return aio::io_getevents(handle, min, nr, events, timeout);
}

int pgetevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout,
               const aio::aio_sigset* blocked) noexcept {
  return aio::io_pgetevents(handle, min, nr, events, timeout, blocked);
}

}  // namespace doorbell::fuzz::calls
