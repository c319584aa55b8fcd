// SPDX-License-Identifier: Apache-2.0
//
// What the standard library's headers ask the system about threads (std::stop_token does): who one is, to let others go
// first, and to sleep. The linker sends it here.
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

#include <cerrno>
#include <climits>
#include <cstdarg>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"
#include "sleep.hpp"

#include <doorbell_model/calls.hpp>

using doorbell::model::not_tracked;
using doorbell::model::scheduler;

namespace {

long futex(const void* at, int operation, std::uint32_t value) {
  const int command = operation & FUTEX_CMD_MASK;
  if (command == FUTEX_WAKE) {
    doorbell::model::wake(at, value >= INT_MAX ? doorbell::model::everybody : value);
    return 0;
  }
  doorbell::model::sleep_while(at, sizeof value, value, ~std::uint64_t{0}, false);
  errno = EAGAIN;  // whoever asks looks again
  return -1;
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {

pthread_t __real_pthread_self();
int __real_sched_yield();
long __real_syscall(long, ...);

pthread_t __wrap_pthread_self() {
  auto& all = scheduler::one();
  return all.running() ? reinterpret_cast<pthread_t>(&all.current()) : __real_pthread_self();
}

int __wrap_sched_yield() {
  auto& all = scheduler::one();
  if (!all.running()) return __real_sched_yield();
  const not_tracked here;
  all.yield();
  return 0;
}

long __wrap_syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  const long first = va_arg(rest, long);
  const long second = va_arg(rest, long);
  const long third = va_arg(rest, long);
  const long fourth = va_arg(rest, long);
  const long fifth = va_arg(rest, long);
  const long sixth = va_arg(rest, long);
  va_end(rest);
  if (number != SYS_futex || !scheduler::one().running())
    return __real_syscall(number, first, second, third, fourth, fifth, sixth);
  return futex(reinterpret_cast<const void*>(first), static_cast<int>(second), static_cast<std::uint32_t>(third));
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
