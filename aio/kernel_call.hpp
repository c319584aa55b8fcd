// SPDX-License-Identifier: Apache-2.0
//
// kernel_call: a system call made by the instruction itself. In a process there may be a function syscall(3) that
// passes the calls of the kernel's AIO to doorbell's contexts (libaio/by_number). The calls that these contexts make
// must not come back to them, and must not reach another copy of doorbell in the process.
#pragma once

#include <type_traits>

/// It has a name in C, by which the linker counts its calls (libaio/statistics).
extern "C" [[gnu::visibility("hidden")]] long doorbell_kernel_call(long number, long first, long second, long third,
                                                                   long fourth, long fifth, long sixth) noexcept;

namespace doorbell::aio {

/// Up to six arguments, as syscall(3) has them. @return -1 and errno, or what the kernel returns.
/// Thread safety: that of the system call. Async-signal-safe, and no cancellation point.
template <class... Arguments>
long kernel_call(long number, Arguments... arguments) noexcept {
  static_assert(sizeof...(Arguments) <= 6);
  const auto as_long = [](auto argument) noexcept {
    if constexpr (std::is_pointer_v<decltype(argument)>)
      return reinterpret_cast<long>(argument);
    else
      return static_cast<long>(argument);
  };
  const long all[6]{as_long(arguments)...};
  return doorbell_kernel_call(number, all[0], all[1], all[2], all[3], all[4], all[5]);
}

}  // namespace doorbell::aio
