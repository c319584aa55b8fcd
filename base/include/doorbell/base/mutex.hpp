// SPDX-License-Identifier: Apache-2.0
//
// mutex, mutex_lock and condition_variable: std's, with the annotations that clang's -Wthread-safety checks. For state
// that is locked briefly and rarely contended. An eventfd's wait queue has a counter_lock instead; a fork_aware_mutex
// can be taken over by a child of fork(2).
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/thread_annotations.hpp>

namespace doorbell::base {

#ifndef DOORBELL_MODEL
namespace seam {

using mutex = std::mutex;
using condition_variable = std::condition_variable;

}  // namespace seam
#endif

class DOORBELL_LOCKABLE mutex {
 public:
  mutex() = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() DOORBELL_EXCLUSIVE_LOCK_FUNCTION() { native_.lock(); }
  void unlock() DOORBELL_UNLOCK_FUNCTION() { native_.unlock(); }
  [[nodiscard]] bool try_lock() DOORBELL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return native_.try_lock(); }

 private:
  friend class condition_variable;
  seam::mutex native_;
};

/// Holds a mutex for a scope.
class DOORBELL_SCOPED_LOCKABLE mutex_lock {
 public:
  explicit mutex_lock(mutex& held) DOORBELL_EXCLUSIVE_LOCK_FUNCTION(held) : held_{held} { held_.lock(); }
  ~mutex_lock() DOORBELL_UNLOCK_FUNCTION() { held_.unlock(); }
  mutex_lock(const mutex_lock&) = delete;
  mutex_lock& operator=(const mutex_lock&) = delete;

 private:
  mutex& held_;
};

/// A condition variable for a `mutex`. Wakeups may be spurious: wait in a loop over the condition.
class condition_variable {
 public:
  void wait(mutex& held) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(held) {
    std::unique_lock lock{held.native_, std::adopt_lock};
    native_.wait(lock);
    lock.release();
  }

  /// @return false if `when` has passed.
  bool wait_until(mutex& held, std::chrono::steady_clock::time_point when) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(held) {
    std::unique_lock lock{held.native_, std::adopt_lock};
    const auto status = native_.wait_until(lock, when);
    lock.release();
    return status == std::cv_status::no_timeout;
  }

  void notify_one() noexcept { native_.notify_one(); }
  void notify_all() noexcept { native_.notify_all(); }

 private:
  seam::condition_variable native_;
};

}  // namespace doorbell::base
