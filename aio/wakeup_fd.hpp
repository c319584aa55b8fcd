// SPDX-License-Identifier: Apache-2.0
//
// wakeup_fd: wakes the crew's poller thread, which sleeps in epoll_wait(2), by an eventfd.
//
//   a thread with news                   the poller's thread
//   news (under their lock)              wakes; empties the eventfd
//   is_rung_ = true; was it false?       is_rung_ = false
//     -> writes to the eventfd           looks for news
//
//   legal:     the thread finds false and writes. Or it finds true: then the poller's thread has not looked yet.
//   forbidden: true found, and the poller's thread has looked already. It stores false before it looks, and both
//              accesses to is_rung_ are seq_cst.
//
// Thread safety: wake() concurrently, in threads of the program and of the crew.
#pragma once

#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/private_fd.hpp>

namespace doorbell::aio {

class wakeup_fd {
 public:
  /// Creates the eventfd in the calling thread's table. Errors: those of eventfd(2).
  [[nodiscard]] std::error_code open() noexcept;
  /// The number, which the crew's table keeps.
  [[nodiscard]] int number() const noexcept { return number_; }
  /// Whether that number is the eventfd in the calling thread's table. The program may have closed it there before.
  [[nodiscard]] bool is_here() const noexcept { return fd_.is_ours(); }
  /// Closes it in a child of fork(2).
  void abandon() noexcept { fd_.reset(); }

  /// Has no effect if the program has closed the descriptor; the poller's thread looks within a second in any case.
  void wake() noexcept;
  /// Whether a wake() has found that the program has closed the descriptor.
  [[nodiscard]] bool is_lost() const noexcept { return is_lost_.load(base::memory_order_relaxed); }
  /// By the poller's thread, before it looks for news.
  void clear() noexcept;

 private:
  base::private_fd fd_;  // in the program's table
  int number_ = -1;
  base::atomic<bool> is_rung_{false};
  base::atomic<bool> is_lost_{false};
};

}  // namespace doorbell::aio
