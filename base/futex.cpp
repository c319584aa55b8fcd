// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/futex.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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

}  // namespace

futex_result futex_wait(const atomic<std::uint32_t>& word, std::uint32_t expected, deadline until) noexcept {
  // FUTEX_WAIT_BITSET takes its deadline as an absolute CLOCK_MONOTONIC time, which is what steady_clock counts.
  const timespec at = until ? to_timespec(*until) : timespec{};
  const int saved = errno;
  const long answer = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                                until ? &at : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
  const int error = answer < 0 ? errno : 0;
  errno = saved;
  if (error == ETIMEDOUT) return futex_result::timed_out;
  if (error == EINTR) return futex_result::interrupted;
  return futex_result::woken;
}

void futex_wake_one(const atomic<std::uint32_t>* word) noexcept {
  const int saved = errno;
  ::syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
  errno = saved;
}

}  // namespace doorbell::base
