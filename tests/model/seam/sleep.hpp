// SPDX-License-Identifier: Apache-2.0
//
// Sleeping, for those who stand in for what threads sleep on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "checker/scheduler.hpp"

namespace doorbell::model {

/// Sleeps on `at`, as part of the step that the calling thread has just taken.
/// @return false: its time was up.
bool fall_asleep(scheduler& all, const void* at, bool timed) noexcept;

/// A step: what futex(2) finds at `at`, in the low bytes: what a seq_cst load might, but nothing older than what those
/// knew who have called wake(); for the kernel takes a lock for either.
std::uint64_t futex_load(const void* at, std::size_t bytes) noexcept;

/// A step: sleeps on `at` if the bits of `mask` in the word there are as in `expected`.
/// @return false: its time was up.
bool sleep_while(const void* at, std::size_t bytes, std::uint64_t expected, std::uint64_t mask, bool timed) noexcept;

}  // namespace doorbell::model
