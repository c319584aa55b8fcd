// SPDX-License-Identifier: Apache-2.0
//
// The system calls that carry a request out, and which of them may sleep.
//
// Thread safety: all of them, at once. Errors are answers: -errno, as in io_event::res. Interruptions are retried.
#pragma once

#include <cstdint>

#include <doorbell/base/private_fd.hpp>

#include "request.hpp"

namespace doorbell::aio {

/// What may be said of a file beforehand.
enum class file_kind {
  store,   ///< regular files, directories, block devices: always ready, though the disk may take its time
  pipe,    ///< pipes and FIFOs
  socket,  ///< sockets
  other,   ///< terminals and other devices, eventfds, timerfds, ...
};
[[nodiscard]] file_kind kind_of(int fd) noexcept;

/// What came of a try that does not sleep.
struct attempt {
  enum class outcome {
    done,        ///< `res` is the answer
    not_ready,   ///< there is nothing to read, or no room to write
    impossible,  ///< this file has no way of transferring without sleeping
  };
  outcome result;
  std::int64_t res = 0;
};

/// A transfer that does not sleep, on a file that is no store.
/// @param fd the request's file, or a descriptor that stands for it.
[[nodiscard]] attempt try_transfer(const request& asked, int fd) noexcept;

/// Whether the program itself has asked not to wait, by O_NONBLOCK or RWF_NOWAIT.
[[nodiscard]] bool never_waits(const request& asked) noexcept;

/// Any request but a poll, to its end; may sleep.
[[nodiscard]] std::int64_t carry_out(const request& asked, int fd) noexcept;

/// Whether one of `events` is there now.
[[nodiscard]] bool is_ready(int fd, short events) noexcept;

/// A descriptor of our own for the request's file; where `without_sleeping` is impossible on the program's and the file is
/// a pipe or a terminal, one of a file description that does not block.
/// Errors: errno.
[[nodiscard]] base::private_fd own_descriptor(const request& asked, bool without_sleeping) noexcept;

}  // namespace doorbell::aio
