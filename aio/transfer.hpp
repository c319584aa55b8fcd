// SPDX-License-Identifier: Apache-2.0
//
// The system calls that carry a request out, and which of them may sleep.
//
// A descriptor is one of the program's table in a thread of the program, and one of the crew's table in a thread of the
// crew (raw_calls.hpp).
//
// Thread safety: all of them, concurrently. Errors are answers: -errno, as in io_event::res. Interruptions are retried.
#pragma once

#include <cstdint>

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

/// Whether a write starts at or beyond the limit of a regular file's size (RLIMIT_FSIZE): it fails with EFBIG without
/// waiting, and the thread that carries it out gets SIGXFSZ. In a thread of the program.
[[nodiscard]] bool starts_beyond_size_limit(const request& asked) noexcept;

/// Any request but a poll, to its end; may sleep.
[[nodiscard]] std::int64_t carry_out(const request& asked, int fd) noexcept;

/// Whether one of `events` is there now.
[[nodiscard]] bool is_ready(int fd, short events) noexcept;

/// Whether a second description of the file can be opened, which can be tried without sleeping.
[[nodiscard]] bool can_be_opened_again(int fd) noexcept;

}  // namespace doorbell::aio
