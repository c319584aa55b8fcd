// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/futex.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <ctime>

namespace doorbell::base {
namespace {

timespec to_timespec(std::chrono::steady_clock::time_point when) noexcept {
  using namespace std::chrono;
  const auto since_boot = std::max(when.time_since_epoch(), steady_clock::duration::zero());
  const auto whole = duration_cast<seconds>(since_boot);
  return {.tv_sec = static_cast<time_t>(whole.count()),
          .tv_nsec = static_cast<long>(duration_cast<nanoseconds>(since_boot - whole).count())};
}

futex_result wait_on(const void* word, std::uint32_t expected, const timespec* until) noexcept {
  const int saved = errno;
  const long answer = ::syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, until, nullptr,
                                FUTEX_BITSET_MATCH_ANY);
  const int error = answer < 0 ? errno : 0;
  errno = saved;
  if (error == ETIMEDOUT) return futex_result::timed_out;
  if (error == EINTR) return futex_result::interrupted;
  return futex_result::woken;
}

void wake(const void* word, int sleepers) noexcept {
  const int saved = errno;
  ::syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, sleepers, nullptr, nullptr, 0);
  errno = saved;
}

const void* high_half(const atomic<std::uint64_t>* word) noexcept {
  static_assert(sizeof *word == sizeof(std::uint64_t), "the atomic is its value and nothing else");
  const auto* bytes = reinterpret_cast<const std::byte*>(word);
  return std::endian::native == std::endian::little ? bytes + sizeof(std::uint32_t) : bytes;
}

}  // namespace

futex_result futex_wait(const atomic<std::uint32_t>& word, std::uint32_t expected, deadline until) noexcept {
  // FUTEX_WAIT_BITSET takes its deadline as an absolute CLOCK_MONOTONIC time, as steady_clock counts it.
  const timespec at = until ? to_timespec(*until) : timespec{};
  return wait_on(&word, expected, until ? &at : nullptr);
}

void futex_wake_one(const atomic<std::uint32_t>* word) noexcept { wake(word, 1); }
void futex_wake_all(const atomic<std::uint32_t>* word) noexcept { wake(word, INT_MAX); }

void futex_wait_high(const atomic<std::uint64_t>& word, std::uint64_t expected) noexcept {
  wait_on(high_half(&word), static_cast<std::uint32_t>(expected >> 32), nullptr);
}

void futex_wake_one_high(const atomic<std::uint64_t>* word) noexcept { wake(high_half(word), 1); }

}  // namespace doorbell::base
