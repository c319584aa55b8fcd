// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

namespace doorbell::aio {

/// During its lifetime pthread_cancel(3) does not end the calling thread; the request stays pending until later.
/// The kernel's AIO calls are not cancellation points, but reads, polls and sleeps are. A thread that ended inside one of
/// these functions would leave locks held, and its unwinding through a noexcept function would end the process.
class uncancelled {
 public:
  uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~uncancelled() { ::pthread_setcancelstate(before_, nullptr); }
  uncancelled(const uncancelled&) = delete;
  uncancelled& operator=(const uncancelled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace doorbell::aio
