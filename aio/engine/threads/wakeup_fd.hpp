// SPDX-License-Identifier: Apache-2.0
//
// wakeup_fd: an eventfd that wakes the poller's thread from epoll_wait(2).
//
//   a thread that has work               the poller's thread
//   adds the work (under its lock)       wakes; drains the eventfd
//   is_signalled_ = true; was it false?  is_signalled_ = false
//     -> writes to the eventfd           looks for work
//
//   legal:     the thread finds false and writes. Or it finds true: then the poller's thread has not looked yet.
//   forbidden: the thread finds true, and the poller's thread has looked already. The poller's thread stores false
//              before it looks, and both accesses to is_signalled_ are seq_cst.
//
// Thread safety: wake() may be called concurrently, in threads of the program and in I/O threads.
#pragma once

#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/private_fd.hpp>

namespace doorbell::aio {

class wakeup_fd {
 public:
  /// Creates the eventfd in the calling thread's table. Errors: those of eventfd(2).
  [[nodiscard]] std::error_code open() noexcept;
  /// The eventfd's number, which is the same in the I/O threads' table.
  [[nodiscard]] int number() const noexcept { return number_; }
  /// Whether that number is still the eventfd in the calling thread's table; the program may have closed it.
  [[nodiscard]] bool is_here() const noexcept { return fd_.is_ours(); }
  /// Closes the eventfd in a child of fork(2).
  void abandon() noexcept { fd_.reset(); }

  /// Has no effect if the program has closed the descriptor; the poller's thread looks within a second in any case.
  void wake() noexcept;
  /// Whether a wake() has found that the program has closed the descriptor.
  [[nodiscard]] bool is_lost() const noexcept { return is_lost_.load(base::memory_order_relaxed); }
  /// Called by the poller's thread, before it looks for work.
  void clear() noexcept;

 private:
  base::private_fd fd_;  // in the program's table
  int number_ = -1;
  base::atomic<bool> is_signalled_{false};
  base::atomic<bool> is_lost_{false};
};

}  // namespace doorbell::aio
