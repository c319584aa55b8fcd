// SPDX-License-Identifier: Apache-2.0
//
// tally: one thread counts, another sleeps until so much has been counted.
#pragma once

#include <atomic>
#include <cstdint>

namespace doorbell::bench {

class tally {
 public:
  /// Called by the waiting thread, before anything that is to be counted.
  void expect(std::uint64_t n) noexcept { goal_.store(goal_.load(std::memory_order_relaxed) + n); }
  /// The waiting thread. @return whether exactly as much has come as was expected.
  [[nodiscard]] bool wait() noexcept {
    const auto goal = goal_.load(std::memory_order_relaxed);
    auto reached = reached_.load();
    for (; reached < goal; reached = reached_.load()) reached_.wait(reached);
    return reached == goal;
  }

  /// The counting thread. @return whether all that was expected has come.
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
  std::uint64_t seen_ = 0;  // the counting thread's
};

}  // namespace doorbell::bench
