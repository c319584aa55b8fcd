// SPDX-License-Identifier: Apache-2.0
//
// pending_posts: counts the posts that wake functions have deferred until the queue lock is released. close() waits for
// them, since the execution context may be destroyed after it.
//
//   wake function, lock held             close
//   begin()                              takes the queue lock: no wake function runs any more
//   ... lock released: post              wait_for_none()
//   end()
//
//   legal:     begin() before the closer takes the lock: wait_for_none() sees it and waits. begin() cannot come later,
//              since the entry is off the queue.
//   forbidden: the post, or end(), uses memory that the closer has freed.
//
// Memory ordering: end() releases, wait_for_none() acquires; begin() is ordered by the queue lock.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>

namespace doorbell::asio::detail {

class pending_posts {
 public:
  void begin() noexcept { word_.fetch_add(one, base::memory_order_relaxed); }

  /// The closer may free *this as soon as the count is decremented. After that only the address is used.
  void end() noexcept {
    const auto* const word = &word_;
    if (word_.fetch_sub(one, base::memory_order_release) == (one | awaited)) base::futex_wake_all(word);
  }

  /// Sleeps until no post is pending, which takes about as long as one post.
  void wait_for_none() noexcept {
    // equivalent fault (flag): the first futex_wait() returns immediately
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
