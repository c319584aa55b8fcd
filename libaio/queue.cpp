// SPDX-License-Identifier: Apache-2.0
//
// The io_queue_* functions: each request of the context carries the function that io_queue_run() calls for it.
#include <cerrno>

#include <doorbell/base/errno_kept.hpp>

#include "../aio/system/user_memory.hpp"
#include "entry_points.hpp"
#include "uncancelled_call.hpp"

using doorbell::libaio::aio_context_t;
using doorbell::libaio::completion;
using doorbell::libaio::io_event;
using doorbell::libaio::uncancelled_call;

namespace {

[[gnu::noinline]] int clear(aio_context_t* handle) noexcept {
  const doorbell::base::errno_kept around;
  constexpr aio_context_t none = 0;
  return doorbell::aio::write_memory(handle, &none, sizeof none) ? 0 : -EFAULT;
}

}  // namespace

extern "C" {

// As io_setup, whatever the value of *handle.
int io_queue_init(int nr_events, aio_context_t* handle) {
  if (nr_events <= 0) return -EINVAL;
  if (const int failed = uncancelled_call<clear>(handle)) return failed;
  return ::io_setup(nr_events, handle);
}

int io_queue_release(aio_context_t handle) { return ::io_destroy(handle); }

// Takes one event at a time, because the called function may itself run the queue or release it. It may also throw, if
// the program is in C++.
int io_queue_run(aio_context_t handle) {
  for (;;) {
    timespec no_time{};
    io_event event{};
    constexpr long least = 0;
    const int got = ::io_getevents(handle, least, 1, &event, &no_time);
    if (got <= 0) return got;
    reinterpret_cast<completion>(event.data)(handle, event.obj, static_cast<long>(event.res),
                                             static_cast<long>(event.res2));
  }
}

// Despite its name it does not wait, nor does libaio's: io_getevents for 0 events returns immediately.
int io_queue_wait(aio_context_t handle, timespec* timeout) { return ::io_getevents(handle, 0, 0, nullptr, timeout); }
}
