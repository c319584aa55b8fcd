// SPDX-License-Identifier: Apache-2.0
//
// pause: one thread makes all others rest between two of their steps, after they have completed a given part of their
// work.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace doorbell::soak {

class pause {
 public:
  enum class depth : std::uint8_t {
    none,
    between_calls,  ///< no thread is inside a call; requests may be in flight
    idle,           ///< besides, no request is in flight
    empty,          ///< besides, there is no context
  };

  /// The work that the calling thread of the load must complete before it calls rest().
  [[nodiscard]] depth asked() const noexcept { return asked_.load(std::memory_order_acquire); }

  /// Returns when the pause has ended.
  void rest() {
    std::unique_lock held{lock_};
    ++resting_;
    changed_.notify_all();
    changed_.wait(held, [this] { return asked() == depth::none; });
    --resting_;
    changed_.notify_all();
  }

  /// @return whether all `threads` rest, in time.
  [[nodiscard]] bool begin(depth how, std::size_t threads, std::chrono::seconds patience) {
    std::unique_lock held{lock_};
    asked_.store(how, std::memory_order_release);
    return changed_.wait_for(held, patience, [&] { return resting_ == threads; });
  }
  void end() {
    std::unique_lock held{lock_};
    asked_.store(depth::none, std::memory_order_release);
    changed_.notify_all();
    changed_.wait(held, [this] { return resting_ == 0; });
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  std::size_t resting_ = 0;
  std::atomic<depth> asked_{depth::none};
};

}  // namespace doorbell::soak
