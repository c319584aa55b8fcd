// SPDX-License-Identifier: Apache-2.0
//
// file_channel: carries open files from the program's table of descriptors into the crew's (private_table.hpp), as
// SCM_RIGHTS messages on a socket (unix(7)).
//
// A file that was sent stays open until it is received and closed, whatever the program does with its number. The program
// may close the sending end, too: what was sent before can still be received.
//
// Thread safety: send() concurrently, in threads of the program; receive() in threads of the crew, one at a time.
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
    int fd;  // in the table of the thread that received it; -1: that table has no room for it
  };

  /// Creates both ends, in the calling thread's table. Errors: those of socketpair(2).
  [[nodiscard]] std::error_code open() noexcept;

  /// The number of the receiving end, which the crew's table keeps.
  [[nodiscard]] int receiving_end() const noexcept { return receiving_end_; }
  /// Whether that number is the receiving end in the calling thread's table. The program may have closed it there
  /// before.
  [[nodiscard]] bool has_receiving_end() const noexcept { return receiver_.is_ours(); }
  /// Closes the receiving end in the program's table.
  void hand_over() noexcept;
  /// Closes both ends, in a child of fork(2).
  void abandon() noexcept;

  /// Sends the file that `fd` refers to.
  /// Errors: bad_file_descriptor (`fd`); not_connected if the sending end is lost, and perhaps another crew's channel
  /// has got the message; resource_unavailable_try_again if the socket is full; others of sendmsg(2), for example
  /// ETOOMANYREFS and EINVAL (files that cannot be sent).
  [[nodiscard]] std::error_code send(std::uint64_t word, int fd) noexcept;
  /// Sleeps until the socket has room, for a second at most.
  void wait_for_room() const noexcept;

  /// @return nothing when all that was sent has been received. Without a file: no descriptor can be had for it, and the
  /// message is left for a later call.
  [[nodiscard]] std::optional<received> receive() const noexcept;
  /// Takes such a message, and so gives its file up.
  void drop() const noexcept;

 private:
  [[nodiscard]] bool receive(msghdr& message, int flags) const noexcept;

  base::private_fd sender_;
  base::private_fd receiver_;  // in the program's table
  int receiving_end_ = -1;
};

}  // namespace doorbell::aio
