// SPDX-License-Identifier: Apache-2.0
//
// The functions of the model checker that the seam's types call. Each call is a step of the calling thread unless its
// comment says otherwise: the scheduler may run other threads before the call takes effect.
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
/// Not a step. The object at `at` is new, and has no earlier stores.
void new_object(const void* at) noexcept;

inline constexpr int nobody = -1;
inline constexpr unsigned everybody = ~0U;

// A mutex is identified by its address, and stores its owner itself.
void lock(const void* mutex, int& owner) noexcept;
/// Not a step: running other threads first at this point has the same effect as running them first at the next step.
void unlock(const void* mutex, int& owner) noexcept;
[[nodiscard]] bool try_lock(const void* mutex, int& owner) noexcept;

/// Calls `unlock(argument)` and sleeps on `at`, in the same step.
/// @return false if the timeout has expired. If `timed` is true, it may expire at any moment.
bool unlock_and_sleep(const void* at, void (*unlock)(void*), void* argument, bool timed) noexcept;
/// Wakes at most `sleepers` threads that sleep on `at`. The search tries each selection.
void wake(const void* at, unsigned sleepers) noexcept;

/// Not a step. @return the CPU of the calling thread.
[[nodiscard]] unsigned cpu() noexcept;

}  // namespace doorbell::model
