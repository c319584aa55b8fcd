// SPDX-License-Identifier: Apache-2.0
//
// rundown_ref: counts the threads inside a context that may be destroyed at any time. It is a percpu_ref whose last
// put() wakes the thread that destroys the context.
//
// Memory ordering: put() releases, wait_for_none() acquires.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>
#include <doorbell/base/percpu_ref.hpp>

namespace doorbell::aio {

class rundown_ref {
 public:
  /// @return whether the caller is now a user; false after kill().
  [[nodiscard]] bool tryget_live() noexcept { return inside_.tryget_live(); }
  void put() noexcept { inside_.put(); }

  /// Called once.
  void kill() noexcept { [[maybe_unused]] const bool ours = inside_.kill(); }

  /// After kill(): waits until the last user has left, or until `limit`. @return whether the last user has left.
  bool wait_for_none(base::deadline limit) noexcept {
    while (inside_.none.load(base::memory_order_acquire) == 0)
      if (base::futex_wait(inside_.none, 0, limit) == base::futex_result::timed_out)
        return inside_.none.load(base::memory_order_acquire) != 0;
    return true;
  }

 private:
  struct count : base::percpu_ref {
    count() : percpu_ref{&count::on_release} {}

    // The destroying thread may free *this as soon as it sees the 1: after the store only the address of `none` is
    // used.
    static void on_release(percpu_ref& ref) noexcept {
      auto* const word = &static_cast<count&>(ref).none;
      word->store(1, base::memory_order_release);
      base::futex_wake_all(word);
    }

    base::atomic<std::uint32_t> none{0};
  };

  count inside_;
};

}  // namespace doorbell::aio
