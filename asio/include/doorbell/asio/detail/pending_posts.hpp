// SPDX-License-Identifier: Apache-2.0
//
// pending_posts: posts that wake functions have left for when the queue's lock is let go, and that closing must wait for:
// after it the execution context may be no more.
//
//   wake function, lock held             close
//   begin()                              takes the queue's lock: no wake function runs, nor will
//   ... lock let go: post                wait_for_none()
//   end()
//
//   legal:     begin before the closer's lock: it is seen, and waited for. There is no after: the entry is off the queue.
//   forbidden: the post, or the end of it, in what the closer has freed.
//
// Memory ordering: end() releases, wait_for_none() acquires; begin() is ordered by the queue's lock.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>

namespace doorbell::asio::detail {

class pending_posts {
 public:
  void begin() noexcept { word_.fetch_add(one, base::memory_order_relaxed); }

  /// The closer may free us as soon as the count is down: after that only the address is used.
  void end() noexcept {
    const auto* const word = &word_;
    if (word_.fetch_sub(one, base::memory_order_release) == (one | awaited)) base::futex_wake_all(word);
  }

  /// Sleeps, for as long as a post takes.
  void wait_for_none() noexcept {
    for (auto word = word_.fetch_or(awaited, base::memory_order_acquire) | awaited; word != awaited;
         word = word_.load(base::memory_order_acquire))
      base::futex_wait(word_, word);
  }

 private:
  static constexpr std::uint32_t awaited = 1;
  static constexpr std::uint32_t one = 2;

  base::atomic<std::uint32_t> word_{0};
};

}  // namespace doorbell::asio::detail
