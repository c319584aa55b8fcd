// SPDX-License-Identifier: Apache-2.0
//
// uring_answer: what the answer of a system call on a ring says about the ring. Everything that enters the kernel for a
// ring (submit, wait, wake, cancel) classifies the answer here.
#pragma once

#include <cerrno>

namespace doorbell::aio {

enum class uring_answer {
  done,       ///< the call did what it was asked for, at least in part
  transient,  ///< the same call may succeed later
  refused,    ///< the process may not enter the kernel for this ring any more, for example after it entered a sandbox
  gone,       ///< the descriptor is not this ring's: the program closed it, and perhaps uses the number itself
};

/// @param answer a count, or a negative errno, as liburing returns it.
[[nodiscard]] constexpr uring_answer classify(int answer) noexcept {
  if (answer >= 0) return uring_answer::done;
  switch (-answer) {
    case ETIME:  // a timeout is the answer to a wait
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
