// SPDX-License-Identifier: Apache-2.0
//
// tally: a counter. One thread adds to it, and another sleeps until it has reached an expected value.
#pragma once

#include <atomic>
#include <cstdint>

namespace doorbell::bench {

class tally {
 public:
  /// Adds `n` to the expected value. Called by the waiting thread, before the events that are counted.
  void expect(std::uint64_t n) noexcept { goal_.store(goal_.load(std::memory_order_relaxed) + n); }
  /// Sleeps until the expected value has been reached. Called by the waiting thread.
  /// @return whether the counter equals the expected value.
  [[nodiscard]] bool wait() noexcept {
    const auto goal = goal_.load(std::memory_order_relaxed);
    auto reached = reached_.load();
    for (; reached < goal; reached = reached_.load()) reached_.wait(reached);
    return reached == goal;
  }

  /// Adds `n` to the counter. Called by the counting thread. @return whether the expected value has been reached.
  bool add(std::uint64_t n) noexcept {
    seen_ += n;
    if (seen_ < goal_.load(std::memory_order_relaxed)) return false;
    reached_.store(seen_);
    reached_.notify_one();
    return true;
  }

 private:
  std::atomic<std::uint64_t> goal_{0};
  std::atomic<std::uint64_t> reached_{0};
  std::uint64_t seen_ = 0;  // used only by the counting thread
};

}  // namespace doorbell::bench
