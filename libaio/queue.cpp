// SPDX-License-Identifier: Apache-2.0
//
// The io_queue_* functions: a context whose requests each bring the function that is to be called.
#include <cerrno>

#include "entry_points.hpp"

using doorbell::libaio::aio_context_t;
using doorbell::libaio::completion;
using doorbell::libaio::io_event;

extern "C" {

// As io_setup, whatever *handle was before. A setup of no events changes nothing, and says whether there is a handle.
int io_queue_init(int nr_events, aio_context_t* handle) {
  if (nr_events <= 0) return -EINVAL;
  if (doorbell::aio::io_setup(0, handle) == -EFAULT) return -EFAULT;
  *handle = 0;
  return ::io_setup(nr_events, handle);
}

int io_queue_release(aio_context_t handle) { return ::io_destroy(handle); }

// One at a time: the function that is called may itself run the queue, or release it. And it may throw, when the
// program is in C++.
int io_queue_run(aio_context_t handle) {
  timespec at_once{};
  io_event event{};
  int got = 0;
  while ((got = ::io_getevents(handle, 0, 1, &event, &at_once)) == 1)
    reinterpret_cast<completion>(event.data)(handle, event.obj, static_cast<long>(event.res),
                                             static_cast<long>(event.res2));
  return got;
}

// In spite of its name it has never waited: for no event at all, io_getevents has no reason to.
int io_queue_wait(aio_context_t handle, timespec* timeout) { return ::io_getevents(handle, 0, 0, nullptr, timeout); }
}
