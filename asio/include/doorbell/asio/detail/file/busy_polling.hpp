// SPDX-License-Identifier: Apache-2.0
//
// busy_polling: decides whether a loop keeps polling for completions before it sleeps: for a given time after an
// operation was last started or found completed, or after the time was set.
//
// Thread safety: not thread-safe; the owner synchronizes access.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <chrono>

namespace doorbell::asio::detail {

class busy_polling {
 public:
  busy_polling() = default;
  explicit busy_polling(std::chrono::nanoseconds at_most) noexcept
      : at_most_{at_most}, since_{std::chrono::steady_clock::now()} {}

  [[nodiscard]] std::chrono::nanoseconds at_most() const noexcept { return at_most_; }

  /// @param moved whether the last poll submitted or completed an operation.
  [[nodiscard]] bool goes_on(bool moved) noexcept {
    if (at_most_ <= std::chrono::nanoseconds::zero()) return false;
    const auto now = std::chrono::steady_clock::now();
    if (moved) since_ = now;
    return now - since_ < at_most_;
  }

 private:
  std::chrono::nanoseconds at_most_{0};
  std::chrono::steady_clock::time_point since_;  // when the last operation was started or found completed
};

}  // namespace doorbell::asio::detail
