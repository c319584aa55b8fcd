// SPDX-License-Identifier: Apache-2.0
//
// kernel_call: makes a system call by the processor's instruction. A process may have a function syscall(2) that passes
// the calls of the kernel's AIO to doorbell's contexts (libaio/by_number). The calls that these contexts make
// themselves must reach neither doorbell's contexts nor another copy of doorbell in the process.
#pragma once

#include <type_traits>

/// Has C linkage, so that the linker can wrap it to count the calls (libaio/statistics).
extern "C" [[gnu::visibility("hidden")]] long doorbell_kernel_call(long number, long first, long second, long third,
                                                                   long fourth, long fifth, long sixth) noexcept;

namespace doorbell::aio {

/// Makes a system call with up to six arguments, as syscall(2). @return the kernel's result, or -1 and errno.
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
