// SPDX-License-Identifier: Apache-2.0
//
// Sleeping, for the replacements of the objects that threads sleep on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "checker/scheduler.hpp"

namespace doorbell::model {

/// Sleeps on `at`, as part of the step that the calling thread has just executed.
/// @return false if the timeout has expired.
bool fall_asleep(scheduler& all, const void* at, bool timed) noexcept;

/// A step. @return the value that futex(2) reads at `at`, in the low bytes: one that a seq_cst load may return, but not
/// older than the stores known to earlier callers of wake(), because the kernel acquires a lock for both.
std::uint64_t futex_load(const void* at, std::size_t bytes) noexcept;

/// A step. Sleeps on `at` if the bits of `mask` in that word are as in `expected`.
/// @return false if the timeout has expired.
bool sleep_while(const void* at, std::size_t bytes, std::uint64_t expected, std::uint64_t mask, bool timed) noexcept;

}  // namespace doorbell::model
