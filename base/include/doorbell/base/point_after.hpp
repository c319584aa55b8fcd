// SPDX-License-Identifier: Apache-2.0
//
// point_after: the time at which a timeout ends, for every duration that a caller may pass.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <chrono>
#include <cstdint>
#include <limits>

namespace doorbell::base {

/// Now plus `timeout`, rounded up to the resolution of steady_clock.
/// @param timeout of any type and value. A timeout of 0, a negative one (-300 years in hours, the smallest value of the
///     type, minus infinity) and NaN end now.
/// @return time_point::max(), which means for ever, if the timeout ends beyond the clock's range.
// Compared and converted as long double: std::chrono::ceil() multiplies in the type of the count, and hours::min() or
// 400 years in hours overflow it. A long double holds each count of nanoseconds that fits the clock. For periods such
// as std::exa, std::chrono cannot express the factor itself.
template <class Rep, class Period>
[[nodiscard]] std::chrono::steady_clock::time_point point_after(std::chrono::duration<Rep, Period> timeout) noexcept {
  using clock = std::chrono::steady_clock;
  using ticks = std::chrono::duration<long double, clock::period>;
  const auto now = clock::now();
  const ticks wanted = [timeout] {
    if constexpr (Period::num <= std::numeric_limits<std::intmax_t>::max() / clock::period::den)
      return ticks{timeout};
    else
      return ticks{static_cast<long double>(timeout.count()) * Period::num / Period::den * clock::period::den};
  }();
  if (!(wanted > ticks::zero())) return now;
  if (wanted >= ticks{clock::time_point::max() - now}) return clock::time_point::max();
  return now + std::chrono::ceil<clock::duration>(wanted);
}

}  // namespace doorbell::base
