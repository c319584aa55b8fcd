// SPDX-License-Identifier: Apache-2.0
//
// Replaces base/futex.cpp. There are no spurious wakeups, and no signal interrupts a sleep. A timeout may expire at any
// moment.
#include <doorbell/base/futex.hpp>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"
#include "sleep.hpp"

namespace doorbell {

bool model::sleep_while(const void* at, std::size_t bytes, std::uint64_t expected, std::uint64_t mask,
                        bool timed) noexcept {
  auto& all = scheduler::one();
  const not_tracked here;
  const bool same = (futex_load(at, bytes) & mask) == (expected & mask);
  return !same || fall_asleep(all, at, timed);
}

namespace base {

futex_result futex_wait(const atomic<std::uint32_t>& word, std::uint32_t expected, deadline until) noexcept {
  const bool timed = until && *until != std::chrono::steady_clock::time_point::max();
  const bool woken = model::sleep_while(&word, sizeof word, expected, ~std::uint64_t{0}, timed);
  return woken ? futex_result::woken : futex_result::timed_out;
}

void futex_wake_one(const atomic<std::uint32_t>* word) noexcept { model::wake(word, 1); }
void futex_wake_all(const atomic<std::uint32_t>* word) noexcept { model::wake(word, model::everybody); }

void futex_wait_high(const atomic<std::uint64_t>& word, std::uint64_t expected) noexcept {
  constexpr auto upper_half = ~std::uint64_t{0} << 32;
  model::sleep_while(&word, sizeof word, expected, upper_half, false);
}

void futex_wake_one_high(const atomic<std::uint64_t>* word) noexcept { model::wake(word, 1); }

}  // namespace base
}  // namespace doorbell
