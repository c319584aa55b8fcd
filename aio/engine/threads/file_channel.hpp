// SPDX-License-Identifier: Apache-2.0
//
// file_channel: sends open files from the program's table of descriptors to the I/O threads' table (private_table.hpp),
// as SCM_RIGHTS messages on a socket (unix(7)).
//
// A file that was sent stays open until it is received and closed, whatever the program does with its number. The
// program may even close the sending end: the files sent before can still be received.
//
// Thread safety: send() may be called concurrently, in threads of the program; receive() by one I/O thread at a time.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <system_error>

#include <doorbell/base/private_fd.hpp>

namespace doorbell::aio {

class file_channel {
 public:
  struct received {
    std::uint64_t word;
    int fd;  // in the table of the thread that received it; -1: that table is full
  };

  /// Creates both ends, in the calling thread's table. Errors: those of socketpair(2).
  [[nodiscard]] std::error_code open() noexcept;

  /// The number of the receiving end, which the I/O threads' table keeps.
  [[nodiscard]] int receiving_end() const noexcept { return receiving_end_; }
  /// Whether that number is the receiving end in the calling thread's table. The program may have closed it before that
  /// table was made.
  [[nodiscard]] bool has_receiving_end() const noexcept { return receiver_.is_ours(); }
  /// Closes the receiving end in the program's table.
  void close_receiving_end() noexcept;
  /// Closes both ends, in a child of fork(2).
  void abandon() noexcept;

  /// Sends the file that `fd` refers to.
  /// Errors: bad_file_descriptor (`fd`); not_connected if the sending end is lost (the message may have reached the
  /// channel of another set of I/O threads); resource_unavailable_try_again if the socket is full; others of
  /// sendmsg(2), for example ETOOMANYREFS and EINVAL (files that cannot be sent).
  [[nodiscard]] std::error_code send(std::uint64_t word, int fd) noexcept;
  /// Sleeps until the socket is no longer full, for a second at most.
  void wait_for_room() const noexcept;

  /// @return nothing: all files that were sent have been received. With fd -1: the table has no descriptor for the
  /// file, and the message stays for a later call.
  [[nodiscard]] std::optional<received> receive() const noexcept;
  /// Removes the next message without taking a descriptor for its file. If receive() had none for it, the file is lost.
  void drop() const noexcept;

 private:
  [[nodiscard]] bool receive(msghdr& message, int flags) const noexcept;

  base::private_fd sender_;
  base::private_fd receiver_;  // in the program's table
  int receiving_end_ = -1;
};

}  // namespace doorbell::aio
