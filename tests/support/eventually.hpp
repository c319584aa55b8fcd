// SPDX-License-Identifier: Apache-2.0
//
// Waits for effects of other threads for which a test cannot sleep.
#pragma once

#include <chrono>
#include <thread>

namespace doorbell::test {

/// Returns once `condition` holds. @return false if it does not hold after twenty seconds.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace doorbell::test
