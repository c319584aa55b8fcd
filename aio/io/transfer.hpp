// SPDX-License-Identifier: Apache-2.0
//
// The system calls that carry out a request, and whether they may sleep.
//
// In a thread of the program, a descriptor belongs to the program's table; in an I/O thread, to the I/O threads' table
// (raw_calls.hpp).
//
// Thread safety: all functions may be called concurrently. Errors are returned as -errno, as in io_event::res. Calls
// that a signal has interrupted are repeated.
#pragma once

#include <cstdint>

#include "../request/request.hpp"

namespace doorbell::aio {

/// The kind of a file decides how it can be waited for.
enum class file_kind {
  store,   ///< regular files, directories, block devices: always ready, although the disk may take time
  pipe,    ///< pipes and FIFOs
  socket,  ///< sockets
  other,   ///< terminals and other devices, eventfds, timerfds, ...
};
[[nodiscard]] file_kind kind_of(int fd) noexcept;

/// The result of an attempt that does not sleep.
struct attempt {
  enum class outcome {
    done,        ///< `res` is the result
    not_ready,   ///< there is nothing to read, or no room to write
    impossible,  ///< this file cannot be transferred to or from without sleeping
  };
  outcome result;
  std::int64_t res = 0;
};

/// A transfer that does not sleep, on a file that is not a store.
/// @param fd the request's file, or a descriptor that stands for it.
[[nodiscard]] attempt try_transfer(const request& asked, int fd) noexcept;

/// Whether the program itself has asked not to wait, by O_NONBLOCK or RWF_NOWAIT.
[[nodiscard]] bool never_waits(const request& asked) noexcept;

/// Whether a write starts at or beyond the limit of a regular file's size (RLIMIT_FSIZE): it fails with EFBIG without
/// waiting, and the thread that carries it out gets SIGXFSZ. Called in a thread of the program.
[[nodiscard]] bool starts_beyond_size_limit(const request& asked) noexcept;

/// Carries out any request except a poll; may sleep.
[[nodiscard]] std::int64_t carry_out(const request& asked, int fd) noexcept;

/// Whether one of `events` is there now, without waiting.
[[nodiscard]] bool is_ready(int fd, short events) noexcept;

/// Whether a second description of the file can be opened, on which transfers do not sleep.
[[nodiscard]] bool can_be_opened_again(int fd) noexcept;

}  // namespace doorbell::aio
