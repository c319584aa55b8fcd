// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <pthread.h>

namespace doorbell::base {

/// During its lifetime pthread_cancel(3) does not end the calling thread; the request stays pending until later.
/// The functions of the C library that read, write, poll, open, close or sleep are cancellation points. A thread that
/// ended inside one of them would leave locks held, and its unwinding through a noexcept function would end the
/// process. System calls by number are not cancellation points, but ThreadSanitizer does not see them. It must see a
/// write(2) to an eventfd, which orders memory. So the library calls the C library's functions, inside such a scope.
class uncancelled {
 public:
  uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~uncancelled() { ::pthread_setcancelstate(before_, nullptr); }
  uncancelled(const uncancelled&) = delete;
  uncancelled& operator=(const uncancelled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace doorbell::base
