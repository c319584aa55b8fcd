// SPDX-License-Identifier: Apache-2.0
//
// getter_habit: where a thread waits for the requests that it submits, as far as its calls on a context show.
//
// io_uring completes requests in the thread that submitted them. If that thread sleeps, the kernel interrupts the sleep
// as a signal would, although no handler runs: epoll_wait(2), sigtimedwait(2), and recv(2) with a timeout then return
// EINTR. A thread that sleeps for the events of the context instead does not notice.
//
// A thread has the habit of sleeping for events here once it has done so several times in a row. It loses it when
//   - another thread sleeps for events of the context,
//   - its time is up, and it leaves although there are requests,
//   - it comes for events, all requests have been completed, and it has slept elsewhere meanwhile: the kernel counts
//     how often a thread has slept (getrusage(2)). A thread that mostly sleeps here soon gets the habit back,
//   - it only looks for events, without waiting, and has slept between two looks, the first of which was not the first
//     since it slept here. The count is not read for a thread that looks once and then sleeps here.
// The first requests of a context are therefore of a thread without the habit.
//
// Thread safety: all members may be called concurrently.
// Memory ordering: none is needed. A thread acts only on a word that names it, which it has stored itself. If two
// threads store at the same time, one of the stores is lost: a thread gets its habit one sleep later, or keeps it for
// one more request. A thread that has the place of an ended one in memory inherits its habit.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

class getter_habit {
 public:
  /// The calling thread is about to sleep for events.
  void note_sleep() noexcept;
  /// The calling thread has come for events, and all requests have been completed.
  void note_late() noexcept;
  /// It has looked for events without waiting, and there had been requests.
  void note_look() noexcept;
  /// It goes, and there are requests.
  void note_departure() noexcept {
    if (word_.load(base::memory_order_relaxed) != 0) word_.store(0, base::memory_order_relaxed);
  }

  /// @return whether the calling thread has the habit.
  [[nodiscard]] bool is_of_this_thread() const noexcept;

  static constexpr std::uintptr_t enough_sleeps = 8;
  /// One more after being away is enough for a thread that has slept as often as this.
  static constexpr std::uintptr_t most_sleeps = 10;
  static constexpr std::uintptr_t lost_by_being_away = 3;

 private:
  void add_one(std::uintptr_t word) noexcept;

  base::atomic<std::uintptr_t> word_{0};  // the thread that slept last, and how many times, less what being away took
  // Of that thread, how often it had slept altogether when it last came late (0: unknown), and how often here since.
  base::atomic<std::uint64_t> sleeps_before_{0};
  base::atomic<std::uint64_t> sleeps_here_{0};
  // Of that thread, how often it has looked since it slept here, and how often it had slept when it last did, from the
  // second look on.
  base::atomic<std::uint32_t> looks_{0};
  base::atomic<std::uint64_t> sleeps_at_look_{0};
};

}  // namespace doorbell::aio
