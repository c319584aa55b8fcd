// SPDX-License-Identifier: Apache-2.0
//
// The calls about threads in the standard library's headers (std::stop_token makes them): pthread_self, sched_yield,
// and a sleep on a futex. The linker redirects them to these functions, together with all system calls made by number
// (aio/system/raw_calls.hpp).
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <optional>

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
  errno = EAGAIN;  // the caller checks again
  return -1;
}

/// Calls the C library's function for that system call, which the linker wraps, too. @return nothing if it is not a
/// call on a descriptor.
std::optional<long> call_on_descriptor(long number, const std::array<long, 4>& with) {
  const auto fd = static_cast<int>(with[0]);
  switch (number) {
    case SYS_close:
      return ::close(fd);
    case SYS_fcntl:
      return ::fcntl(fd, static_cast<int>(with[1]), with[2]);
    case SYS_read:
      return ::read(fd, reinterpret_cast<void*>(with[1]), static_cast<std::size_t>(with[2]));
    case SYS_write:
      return ::write(fd, reinterpret_cast<const void*>(with[1]), static_cast<std::size_t>(with[2]));
    case SYS_recvmsg:
      return ::recvmsg(fd, reinterpret_cast<msghdr*>(with[1]), static_cast<int>(with[2]));
    case SYS_sendmsg:
      return ::sendmsg(fd, reinterpret_cast<const msghdr*>(with[1]), static_cast<int>(with[2]));
    case SYS_epoll_create1:
      return ::epoll_create1(fd);
    case SYS_epoll_ctl:
      return ::epoll_ctl(fd, static_cast<int>(with[1]), static_cast<int>(with[2]),
                         reinterpret_cast<epoll_event*>(with[3]));
    case SYS_epoll_pwait:
      return ::epoll_wait(fd, reinterpret_cast<epoll_event*>(with[1]), static_cast<int>(with[2]),
                          static_cast<int>(with[3]));
    default:
      return std::nullopt;
  }
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming)
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
  if (!scheduler::one().running()) return __real_syscall(number, first, second, third, fourth, fifth, sixth);
  if (number == SYS_futex)
    return futex(reinterpret_cast<const void*>(first), static_cast<int>(second), static_cast<std::uint32_t>(third));
  if (const auto answer = call_on_descriptor(number, {first, second, third, fourth})) return *answer;
  return __real_syscall(number, first, second, third, fourth, fifth, sixth);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
