// SPDX-License-Identifier: Apache-2.0
//
// The calls that aio_play makes: doorbell's calls by handle, or libaio's. The link of a target selects one of the two.
#pragma once

#include <doorbell/aio_calls.hpp>

namespace doorbell::fuzz::calls {

int setup(unsigned nr_events, aio::aio_context_t* handle) noexcept;
int destroy(aio::aio_context_t handle) noexcept;
int submit(aio::aio_context_t handle, long nr, aio::iocb_abi** iocbs) noexcept;
int cancel(aio::aio_context_t handle, aio::iocb_abi* request, aio::io_event* result) noexcept;
int getevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout) noexcept;
int pgetevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout,
               const aio::aio_sigset* blocked) noexcept;

}  // namespace doorbell::fuzz::calls
