// SPDX-License-Identifier: Apache-2.0
//
// getter_habit: where a thread waits for the requests that it submits, as far as its calls on a context show.
//
// io_uring completes requests in the thread that submitted them. If that thread sleeps, the kernel interrupts the sleep
// as a signal would, although no handler runs: epoll_wait(2), sigtimedwait(2), and recv(2) with a timeout then return
// EINTR. A thread that sleeps for the events of the context does not notice.
//
// A thread has the habit of sleeping for events here after it has done so several times in a row. It loses the habit
// when
//   - another thread sleeps for events of the context, or fetches events after all requests have completed,
//   - a thread returns at its timeout although there are requests,
//   - it fetches events after all requests have completed, and has slept elsewhere meanwhile: the kernel counts how
//     often a thread has slept (getrusage(2)). A thread that mostly sleeps here soon regains the habit,
//   - it only polls for events, without waiting, and has slept elsewhere between two polls. The first poll after a
//     sleep here does not count: so the kernel's number is not read for a thread that polls once and then sleeps here.
// A thread has the habit for one context, so no thread has it when it submits the first requests of a context.
//
// Thread safety: all members may be called concurrently.
// Memory ordering: none is needed. A thread acts only on a word that names it, which it has stored itself. If two
// threads store concurrently, one of the stores is lost: a thread gets its habit one sleep later, or keeps it for one
// more request. A thread whose thread-local memory has the address of an ended thread's inherits the habit of that
// thread.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

class getter_habit {
 public:
  /// The calling thread is about to sleep for events.
  void note_sleep() noexcept;
  /// The calling thread fetches events, without having slept, after all requests have completed.
  void note_late() noexcept;
  /// The calling thread has polled for events, without waiting, while there were requests.
  void note_look() noexcept;
  /// The calling thread returns at its timeout although there are requests.
  void note_departure() noexcept {
    // equivalent fault (constant): 1 is the word of no thread, as 0 is
    if (word_.load(base::memory_order_relaxed) != 0) word_.store(0, base::memory_order_relaxed);
  }

  /// @return whether the calling thread has the habit.
  [[nodiscard]] bool is_of_this_thread() const noexcept;

  static constexpr std::uintptr_t enough_sleeps = 8;
  /// A thread with this many sleeps has the habit again after it has been away once and then slept here once.
  static constexpr std::uintptr_t most_sleeps = 10;
  static constexpr std::uintptr_t lost_by_being_away = 3;

 private:
  void add_one(std::uintptr_t word) noexcept;

  // The thread that slept last, and its sleeps in a row, less lost_by_being_away for each time that it was away.
  base::atomic<std::uintptr_t> word_{0};
  // Of that thread: its sleeps anywhere until its last note_late() (0: unknown), and its sleeps here since then.
  base::atomic<std::uint64_t> sleeps_before_{0};
  base::atomic<std::uint64_t> sleeps_here_{0};
  // Of that thread: its polls since it last slept here, and its sleeps anywhere until the last poll, from the second
  // poll on.
  base::atomic<std::uint32_t> looks_{0};
  base::atomic<std::uint64_t> sleeps_at_look_{0};
};

}  // namespace doorbell::aio
