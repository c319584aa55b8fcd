// SPDX-License-Identifier: Apache-2.0
//
// busy_polling: whether a loop goes on looking for completions before it sleeps: for so long after it has last found any, or started
// something, or was told to.
//
// Thread safety: belongs to whoever has it.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <chrono>

namespace doorbell::asio::detail {

class busy_polling {
 public:
  busy_polling() = default;
  explicit busy_polling(std::chrono::nanoseconds at_most) noexcept
      : at_most_{at_most}, since_{std::chrono::steady_clock::now()} {}

  [[nodiscard]] std::chrono::nanoseconds at_most() const noexcept { return at_most_; }

  /// @param moved whether there was anything to do this time.
  [[nodiscard]] bool goes_on(bool moved) noexcept {
    if (at_most_ <= std::chrono::nanoseconds::zero()) return false;
    const auto now = std::chrono::steady_clock::now();
    if (moved) since_ = now;
    return now - since_ < at_most_;
  }

 private:
  std::chrono::nanoseconds at_most_{0};
  std::chrono::steady_clock::time_point since_;  // of what was last found or started
};

}  // namespace doorbell::asio::detail
