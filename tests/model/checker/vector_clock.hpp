// SPDX-License-Identifier: Apache-2.0
//
// vector_clock: for each thread, the number of its operations that precede a point of the execution.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace doorbell::model {

using thread_id = unsigned;

/// The scenario's own thread, number 0, and the threads that it starts.
inline constexpr unsigned max_threads = 8;

/// A set of threads.
using thread_mask = std::uint32_t;
[[nodiscard]] constexpr thread_mask only(thread_id thread) noexcept { return thread_mask{1} << thread; }

class vector_clock {
 public:
  [[nodiscard]] std::uint32_t of(thread_id thread) const noexcept { return ticks_[thread]; }
  void tick(thread_id thread) noexcept { ++ticks_[thread]; }
  void join(const vector_clock& other) noexcept {
    for (std::size_t i = 0; i < max_threads; ++i) ticks_[i] = std::max(ticks_[i], other.ticks_[i]);
  }

 private:
  std::array<std::uint32_t, max_threads> ticks_{};
};

}  // namespace doorbell::model
