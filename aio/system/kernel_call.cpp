// SPDX-License-Identifier: Apache-2.0
#include "kernel_call.hpp"

#include <unistd.h>

#include <cerrno>

#if defined(__x86_64__) && !defined(__ILP32__)

namespace {

// @return the kernel's result: from -4095 to -1, a negative errno.
long enter(long number, long first, long second, long third, long fourth, long fifth, long sixth) noexcept {
  long answer = number;
  register long r10 __asm__("r10") = fourth;
  register long r8 __asm__("r8") = fifth;
  register long r9 __asm__("r9") = sixth;
  __asm__ volatile("syscall"
                   : "+a"(answer)
                   : "D"(first), "S"(second), "d"(third), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return answer;
}

}  // namespace

#elif defined(__aarch64__)

namespace {

// @return the kernel's result: from -4095 to -1, a negative errno.
long enter(long number, long first, long second, long third, long fourth, long fifth, long sixth) noexcept {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = first;
  register long x1 __asm__("x1") = second;
  register long x2 __asm__("x2") = third;
  register long x3 __asm__("x3") = fourth;
  register long x4 __asm__("x4") = fifth;
  register long x5 __asm__("x5") = sixth;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

}  // namespace

#else

namespace {

// There is no libaio/by_number for this processor, so syscall(2) is the C library's.
long enter(long number, long first, long second, long third, long fourth, long fifth, long sixth) noexcept {
  const long answer = ::syscall(number, first, second, third, fourth, fifth, sixth);
  return answer == -1 ? -errno : answer;
}

}  // namespace

#endif

extern "C" long doorbell_kernel_call(long number, long first, long second, long third, long fourth, long fifth,
                                     long sixth) noexcept {
  constexpr long last_errno = 4095;
  const long answer = enter(number, first, second, third, fourth, fifth, sixth);
  if (answer >= 0 || answer < -last_errno) return answer;
  errno = static_cast<int>(-answer);
  return -1;
}
