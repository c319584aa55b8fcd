// SPDX-License-Identifier: Apache-2.0
//
// uring_answer: classifies the result of a system call on a ring. Each function that enters the kernel for a ring
// (submit, wait, wake, cancel) classifies the result here.
#pragma once

#include <cerrno>

namespace doorbell::aio {

enum class uring_answer {
  done,       ///< the call did at least part of its work
  transient,  ///< the same call may succeed later
  refused,    ///< the process may not enter the kernel for this ring any more, for example after it entered a sandbox
  gone,       ///< the descriptor is not this ring's: the program closed it, and may have reused the number
};

/// @param answer a count, or a negative errno, as liburing returns it.
[[nodiscard]] constexpr uring_answer classify(int answer) noexcept {
  if (answer >= 0) return uring_answer::done;
  switch (-answer) {
    case ETIME:  // a wait that has timed out
      return uring_answer::done;
    case EINTR:
    case EAGAIN:
    case EBUSY:
    case ENOMEM:
      return uring_answer::transient;
    case EPERM:
    case EACCES:
    case ENOSYS:
      return uring_answer::refused;
    default:  // EBADF, EOPNOTSUPP, ENXIO, and EINVAL of a ring that used to work
      return uring_answer::gone;
  }
}

}  // namespace doorbell::aio
