// SPDX-License-Identifier: Apache-2.0
//
// stacks: one stack for each thread of a scenario, reused in every execution. They are adjacent, so that an address
// identifies its thread.
#pragma once

#include <cstddef>
#include <optional>

#include "vector_clock.hpp"

namespace doorbell::model {

class stacks {
 public:
  stacks();
  stacks(const stacks&) = delete;
  stacks& operator=(const stacks&) = delete;

  static constexpr std::size_t bytes = std::size_t{256} << 10;

  [[nodiscard]] std::byte* top(thread_id of) const noexcept { return memory_ + (of + 1) * bytes; }
  [[nodiscard]] std::byte* bottom(thread_id of) const noexcept { return memory_ + of * bytes; }

  /// The thread whose stack contains the address.
  [[nodiscard]] std::optional<thread_id> owner(const void* at) const noexcept {
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(at) - memory_);
    if (offset >= max_threads * bytes) return std::nullopt;
    return static_cast<thread_id>(offset / bytes);
  }

 private:
  std::byte* const memory_;
};

}  // namespace doorbell::model
