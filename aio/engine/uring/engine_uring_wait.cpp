// SPDX-License-Identifier: Apache-2.0
//
// Waiting in a ring, in sleeps of a second at most: if the program has closed the ring's descriptor, no other thread
// can wake the sleeper.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <ctime>

#include <doorbell/base/signals_blocked.hpp>

#include "engine_uring.hpp"

namespace doorbell::aio {
namespace {

constexpr std::chrono::seconds longest_sleep{1};
constexpr std::chrono::milliseconds nap_time{1};

// Sleeps in io_uring_enter(2). @param mask the signals that are blocked during the sleep; null: no change.
int wait_in_ring(const io_uring& ring, const timespec* left, const sigset_t* mask) noexcept {
  static_assert(sizeof(timespec) == sizeof(__kernel_timespec), "the kernel reads the one as the other");
  constexpr std::size_t kernel_sigset_bytes = 8;
  io_uring_getevents_arg argument{};
  argument.ts = reinterpret_cast<std::uintptr_t>(left);
  argument.sigmask = reinterpret_cast<std::uintptr_t>(mask);
  argument.sigmask_sz = mask != nullptr ? kernel_sigset_bytes : 0;
  return io_uring_enter2(static_cast<unsigned>(ring.ring_fd), 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                         reinterpret_cast<sigset_t*>(&argument), sizeof argument);
}

// The same for kernels whose io_uring_enter takes no timeout (before 5.11).
int wait_at_descriptor(const io_uring& ring, const timespec* left, const sigset_t* mask) noexcept {
  pollfd readable{.fd = ring.ring_fd, .events = POLLIN, .revents = 0};
  const int ready = ::ppoll(&readable, 1, left, mask);
  if (ready < 0) return -errno;
  return ready == 0 ? -ETIME : 0;
}

// For a ring that no system call can wait for: sleeps for nap_time at most.
int nap(const timespec& left, const sigset_t* mask) noexcept {
  const auto at_most = std::chrono::nanoseconds{nap_time}.count();
  const timespec time{.tv_sec = 0, .tv_nsec = left.tv_sec > 0 ? at_most : std::min<long>(left.tv_nsec, at_most)};
  return ::ppoll(nullptr, 0, &time, mask) < 0 ? -errno : 0;
}

}  // namespace

// @return 0, or a negative errno; -ETIME if the sleep has ended at `until` or after longest_sleep.
int engine_uring::sleep(base::deadline until, const sigset_t* mask) noexcept {
  const auto limit = std::chrono::steady_clock::now() + longest_sleep;
  const auto left = base::time_left(until ? std::min(*until, limit) : limit);
  if (descriptor_.is_superseded()) return nap(left, mask);
  switch (condition_.load(base::memory_order_relaxed)) {
    case uring_answer::refused:
      return wait_at_descriptor(ring_, &left, mask);
    case uring_answer::gone:
      return nap(left, mask);
    default:
      break;
  }
  const int answer =
      ring_.features & IORING_FEAT_EXT_ARG ? wait_in_ring(ring_, &left, mask) : wait_at_descriptor(ring_, &left, mask);
  // The nap prevents a busy loop if a transient error lasts.
  return note(answer) == uring_answer::transient && answer != -EINTR ? nap(left, mask) : answer;
}

// A signal handler that runs between two sleeps would not end the wait. So signals are blocked between the sleeps.
int engine_uring::sleep_on(base::deadline until) noexcept {
  const base::all_signals_blocked between_sleeps;
  for (;;) {
    const int answer = sleep(until, &between_sleeps.before());
    const bool goes_on = answer == -ETIME && works() && descriptor_.is_ours();
    if (!goes_on || (until && *until <= std::chrono::steady_clock::now())) return answer;
  }
}

engine::wait_result engine_uring::wait(base::deadline until) noexcept {
  using clock = std::chrono::steady_clock;
  const auto now = clock::now();
  if (until && *until <= now) return wait_result::timed_out;
  const bool is_short = until && *until - now <= longest_sleep;
  const int answer = is_short ? sleep(until, nullptr) : sleep_on(until);
  if (answer == -EINTR) return wait_result::interrupted;
  return answer < 0 && until && *until <= clock::now() ? wait_result::timed_out : wait_result::ready;
}

}  // namespace doorbell::aio
