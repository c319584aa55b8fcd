// SPDX-License-Identifier: Apache-2.0
//
// futex_wait, futex_wake: sleeping on a 32-bit word. A blocking call with the kernel's semantics needs a deadline and
// interruption by signal handlers, which std::atomic::wait does not offer.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <optional>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/export.hpp>

namespace doorbell::base {

using deadline = std::optional<std::chrono::steady_clock::time_point>;

/// The time until `when`, for system calls that take a timeout; 0 if `when` is past.
inline timespec time_left(std::chrono::steady_clock::time_point when) noexcept {
  using namespace std::chrono;
  const auto now = steady_clock::now();
  const auto left = when > now ? when - now : steady_clock::duration::zero();
  const auto whole = duration_cast<seconds>(left);
  return {.tv_sec = static_cast<time_t>(whole.count()),
          .tv_nsec = static_cast<long>(duration_cast<nanoseconds>(left - whole).count())};
}

enum class futex_result {
  woken,        ///< woken, or the word had changed already, or spuriously: read the word again
  timed_out,    ///< the deadline has passed
  interrupted,  ///< a signal handler ran: one without SA_RESTART, or any handler where there is a deadline (futex(2))
};

/// Sleeps while `word` holds `expected`, until a wakeup, the deadline `until`, or the return of a signal handler.
/// @note No ordering of its own: the caller reads the word again, with acquire.
DOORBELL_EXPORT futex_result futex_wait(const atomic<std::uint32_t>& word, std::uint32_t expected,
                                        deadline until = {}) noexcept;

/// Wakes at most one sleeper. The word itself is not read. It may have been freed by the time of the call, since a
/// thread that saw the new value may have returned; the call then wakes another sleeper spuriously at most.
void futex_wake_one(const atomic<std::uint32_t>* word) noexcept;
DOORBELL_EXPORT void futex_wake_all(const atomic<std::uint32_t>* word) noexcept;

/// The same for a 64-bit word with flags in its upper half. The kernel compares 32 bits, here the upper half, so the
/// lower half may change during the sleep.
void futex_wait_high(const atomic<std::uint64_t>& word, std::uint64_t expected) noexcept;
void futex_wake_one_high(const atomic<std::uint64_t>* word) noexcept;

}  // namespace doorbell::base
