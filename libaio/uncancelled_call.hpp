// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <sched.h>

namespace doorbell::libaio {

/// Calls `Function`, which is noexcept and not inlined, for the program. pthread_cancel(3) does not end the thread
/// during the call. A thread that can be cancelled at any time (PTHREAD_CANCEL_ASYNCHRONOUS) may be unwound at each
/// instruction before and after the call, also in this function's caller. So neither this function nor its caller has
/// an object with a destructor, and neither of the two is noexcept: the compiler then makes no table of call sites
/// (LSDA) for them. Such a table lists only the calls that can throw: if a thread was unwound at another instruction,
/// the C++ runtime would find no entry, and end the process.
template <auto Function, class... Arguments>
[[gnu::always_inline]] inline auto uncancelled_call(Arguments... arguments) {
  int before = PTHREAD_CANCEL_ENABLE;
  int type = PTHREAD_CANCEL_DEFERRED;
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  // A cancellation that was requested before comes as a signal, whose handler in glibc 2.36 checks only the type. The
  // signal has arrived when sched_yield() returns; the handler then finds the deferred type.
  ::pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
  if (type == PTHREAD_CANCEL_ASYNCHRONOUS) [[unlikely]]
    ::sched_yield();
  const auto answer = Function(arguments...);
  ::pthread_setcancelstate(before, nullptr);
  // If the thread was cancelled during the call, pthread_setcanceltype(3) ends it here. pthread_setcancelstate(3) has
  // not ended it, because the type was PTHREAD_CANCEL_DEFERRED: with the other type, glibc 2.36 would end the thread
  // with a result other than PTHREAD_CANCELED.
  if (type == PTHREAD_CANCEL_ASYNCHRONOUS) ::pthread_setcanceltype(type, nullptr);
  return answer;
}

}  // namespace doorbell::libaio
