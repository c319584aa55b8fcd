// SPDX-License-Identifier: Apache-2.0
//
// The functions of the model checker that the seam's types call. Each call is a step of the calling thread unless it
// says otherwise: before it takes effect, the scheduler may let other threads go first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace doorbell::model {

enum class atomic_operation : std::uint8_t { load, store, exchange, add, subtract, bit_and, bit_or, bit_xor };

/// @return the value before, in the low bytes.
std::uint64_t atomic_step(atomic_operation what, void* at, std::size_t bytes, std::uint64_t operand,
                          std::memory_order order) noexcept;
bool compare_exchange(void* at, std::size_t bytes, std::uint64_t& expected, std::uint64_t desired,
                      std::memory_order success, std::memory_order failure) noexcept;
/// Not a step: what is at `at` begins to be, and has no history.
void new_object(const void* at) noexcept;

inline constexpr int nobody = -1;
inline constexpr unsigned everybody = ~0U;

// A mutex is known by its address, and keeps its owner itself.
void lock(const void* mutex, int& owner) noexcept;
/// Not a step: that others go first here is the same as that they go first at the next.
void unlock(const void* mutex, int& owner) noexcept;
[[nodiscard]] bool try_lock(const void* mutex, int& owner) noexcept;

/// Sleeps on `at`, having called `unlock(argument)` in the same step.
/// @return false: its time was up, which may be at any moment if it is `timed`.
bool unlock_and_sleep(const void* at, void (*unlock)(void*), void* argument, bool timed) noexcept;
/// Wakes as many of those who sleep on `at`, any of them.
void wake(const void* at, unsigned sleepers) noexcept;

/// Which CPU the thread is on. Not a step.
[[nodiscard]] unsigned cpu() noexcept;

}  // namespace doorbell::model
