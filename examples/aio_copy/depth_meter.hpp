// SPDX-License-Identifier: Apache-2.0
//
// depth_meter: measures the number of requests in flight: its maximum, and its mean over time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace aio_copy {

class depth_meter {
 public:
  /// Changes the number of requests in flight. @param requests the difference, which may be negative.
  void add(std::int64_t requests) noexcept {
    const auto now = clock::now();
    const auto elapsed = std::chrono::duration<double>(now - changed_).count();
    if (in_flight_ > 0) {
      busy_ += elapsed;
      weighted_ += elapsed * static_cast<double>(in_flight_);
    }
    changed_ = now;
    in_flight_ += requests;
    deepest_ = std::max(deepest_, in_flight_);
  }

  [[nodiscard]] std::int64_t deepest() const noexcept { return deepest_; }
  /// The mean over the time during which at least one request was in flight.
  [[nodiscard]] double mean() const noexcept { return busy_ > 0 ? weighted_ / busy_ : 0; }

 private:
  using clock = std::chrono::steady_clock;

  clock::time_point changed_;
  std::int64_t in_flight_ = 0;
  std::int64_t deepest_ = 0;
  double busy_ = 0;      // seconds
  double weighted_ = 0;  // seconds times requests
};

}  // namespace aio_copy
