// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <sched.h>

namespace doorbell::libaio {

/// Calls `Function`, which is noexcept and not inlined, for the program. During the call pthread_cancel(3) does not end
/// the thread. One that can be cancelled at any time (PTHREAD_CANCEL_ASYNCHRONOUS) may be unwound at each instruction
/// before and after it, also in the caller of this. Neither has an object with a destructor or is noexcept: then the
/// compiler makes no table for its unwinding, in which the runtime would miss the instruction, and end the process.
template <auto Function, class... Arguments>
[[gnu::always_inline]] inline auto uncancelled_call(Arguments... arguments) {
  int before = PTHREAD_CANCEL_ENABLE;
  int type = PTHREAD_CANCEL_DEFERRED;
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  // A cancellation that has begun before comes as a signal, whose handler in glibc 2.36 looks at the type only. It has
  // come when this system call returns, and finds that the thread cannot be cancelled at any time.
  ::pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
  if (type == PTHREAD_CANCEL_ASYNCHRONOUS) [[unlikely]]
    ::sched_yield();
  const auto answer = Function(arguments...);
  ::pthread_setcancelstate(before, nullptr);
  // If the thread was cancelled meanwhile, this ends it. While the type is PTHREAD_CANCEL_DEFERRED, the call above does
  // not: pthread_setcancelstate(3) of glibc 2.36 would end it with another result than PTHREAD_CANCELED.
  if (type == PTHREAD_CANCEL_ASYNCHRONOUS) ::pthread_setcanceltype(type, nullptr);
  return answer;
}

}  // namespace doorbell::libaio
