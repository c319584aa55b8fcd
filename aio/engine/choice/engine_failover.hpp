// SPDX-License-Identifier: Apache-2.0
//
// engine_failover: a ring (engine_uring) for requests of files, and the I/O threads (engine_threads) for all other
// requests.
//
// The ring carries out requests that end by themselves and that the kernel starts without a thread: reads of files and
// disks, and transfers with O_DIRECT. The I/O threads carry out requests that wait for something else (polls, pipes,
// sockets, terminals), and those for which io_uring would use a thread of its own (fsync, writes through the page
// cache). io_uring would cancel these when the thread that submitted them ends, or when the process may create no
// further thread; and it also completes polls for an event that they did not ask for (RDHUP).
//
// A completion in the ring interrupts the sleep of the thread that submitted the request (getter_habit.hpp). A thread
// that waits for an eventfd does not sleep in this engine. Therefore a request goes to the ring only if it signals no
// eventfd, and the submitting thread
//   - is in the habit of sleeping for events of the context, or
//   - waits for events at the descriptor, in the program's event loop: descriptor() has been called.
// engine_threads takes all other requests; it passes those with O_DIRECT to the kernel's own AIO (kernel_aio.hpp).
//
// When the ring has stopped working (see engine_uring), the I/O threads carry out all further requests. No request is
// started twice: the kernel carries out the requests that it has taken, and their completions are in the memory of the
// ring; engine_threads starts only requests that the kernel has never seen.
//
//   submitter A                          submitter B                       sleeper in the ring
//   ring's start(): EBADF                ring's start(): nothing started   sleeps for at most a second
//   stand_in(): lock; makes threads      stand_in(): lock; finds threads
//   threads' start()                     threads' start()                  wakes; has threads; sleeps there
//
//   legal:     each request is started once, by the ring or by threads.
//   forbidden: a request started by both. If the ring reports a request as not started, the kernel has not taken it.
//
// A thread sleeps where there are requests: in the ring, in engine_threads, or at the descriptors of both. A request
// that is started elsewhere meanwhile wakes the thread, which then chooses again where to sleep:
//
//   sleeper                              thread that starts a request in the ring; likewise with the I/O threads
//   place_ = at_io_threads               ++in_ring_
//   in_ring_ > 0 ? -> chooses again      starts the request
//   sleeps in engine_threads             place_ is not the ring ? -> wakes the sleeper
//
//   legal:     the sleeper finds the request, or the starter finds where it sleeps.
//   forbidden: a request whose completion does not wake the sleeper. All four accesses are seq_cst. place_ may still be
//              set by a sleeper that has left by siglongjmp(3); then the next sleeper stores its own place later, and
//              finds the request.
//
// After the program has called descriptor(), the ring also announces the completions of the I/O threads: it has a read
// of the eventfd that the I/O threads signal.
//
//   an I/O thread                        a thread that reaps               sleeper in the ring
//   completion on the list
//   signals the eventfd                  takes the ring's completions      sleeps while the ring has none
//                                        watches again
//                                        takes the list
//
//   legal:     the read is in the ring when the eventfd is signalled, or is submitted later and finds the count.
//   forbidden: a completion on the list, the read taken, and no new read. The thread that takes the read submits a new
//              one (watches again) before it takes the list. If it cannot, must_be_looked_at() is true, and no sleep is
//              longer than a millisecond.
//
// If the program has closed that eventfd, engine_threads makes another one, which the ring must read, too. start(),
// cancel() and reap() of engine_threads may find the loss. So the calling thread compares the eventfd's serial number
// afterwards:
//
//   submitter                            an I/O thread                        event loop
//   the ring reads the newest eventfd
//   engine_threads' start(): the eventfd
//     is lost; makes eventfd 2
//                                        completion on the list
//                                        signals eventfd 2
//   serial changed: ring reads eventfd 2                                      the ring's descriptor is readable
//
//   legal:     the ring reads eventfd 2 before or after it is signalled.
//   forbidden: submit returns, and the ring reads only the eventfd that is lost: it has a read in flight, but of a file
//              that the set of I/O threads with the request never signals.
//
// If the ring has stopped working and still has requests, a sleeper polls the ring every millisecond, because nothing
// announces the completions in it.
//
// When a thread ends, io_uring cancels those requests of the thread that wait for a kernel worker and have not started.
// They are started again, if their number still refers to the file that they were submitted for; otherwise they fail
// with -ECANCELED.
//
// A request that waits for something other than a disk, and that the I/O threads cannot take, for example because the
// process may create no thread, goes to the ring, whichever thread submits it. Exception: a poll of a socket that asks
// for none of the events that come with RDHUP, because RDHUP would complete it.
//
// Thread safety: that of engine. Locks: lock_ is held while the engine_threads object is created, which takes the lock
// that guards the process's I/O threads. No other lock is taken under lock_. watch_lock_ is held while a thread takes
// the eventfd of the I/O threads and lets the ring read it, by functions of both engines that take their locks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

#include "../engine.hpp"
#include "../getter_habit.hpp"
#include "../threads/engine_threads.hpp"
#include "../uring/engine_uring.hpp"

namespace doorbell::aio {

class engine_failover final : public engine {
 public:
  /// @param in_flight the maximum number of requests in flight.
  engine_failover(std::unique_ptr<engine_uring> ring, unsigned in_flight) noexcept
      : ring_{std::move(ring)}, in_flight_{in_flight} {
    ring_->become_part_of(*this);
  }

  /// "io_uring" as long as the ring works.
  [[nodiscard]] std::string_view name() const noexcept override;
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] bool takes_many_by_one_call() const noexcept override { return may_use_ring(); }
  [[nodiscard]] cancel_result cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  [[nodiscard]] bool has_finished_some() const noexcept override {
    const auto* const others = threads();
    return others != nullptr && others->has_finished_some();
  }
  [[nodiscard]] file_io file_io_done() const noexcept override;
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override;
  [[nodiscard]] std::array<int, 2> descriptors() const noexcept override;
  void ignore_descriptors() noexcept override;
  [[nodiscard]] unsigned replacements() const noexcept override {
    return (ring_->works() ? 0U : 2U) + (threads() != nullptr ? 1U : 0U);
  }
  [[nodiscard]] bool must_be_looked_at() const noexcept override;
  void announce() noexcept override;
  void give_up() noexcept override { ring_->give_up(); }
  void note_sleep() noexcept override { habit_.note_sleep(); }
  void note_late() noexcept override { habit_.note_late(); }
  void note_look() noexcept override { habit_.note_look(); }
  void note_departure() noexcept override { habit_.note_departure(); }

 private:
  // Values of place_: where a sleeper waits for completions.
  static constexpr std::uint32_t nowhere = 0;
  static constexpr std::uint32_t at_ring = 1;
  static constexpr std::uint32_t at_io_threads = 2;

  // Acquire pairs with the release in stand_in().
  [[nodiscard]] engine_threads* threads() const noexcept { return threads_.load(base::memory_order_acquire); }
  [[nodiscard]] engine_threads* stand_in() noexcept;
  [[nodiscard]] bool is_polled() const noexcept { return is_polled_.load(base::memory_order_relaxed); }
  /// Whether requests of the calling thread may go to the ring.
  [[nodiscard]] bool may_use_ring() const noexcept {
    return ring_->works() && (is_polled() || habit_.is_of_this_thread());
  }
  [[nodiscard]] std::size_t start_by_ring(std::span<request* const> requests) noexcept;
  [[nodiscard]] std::size_t start_by_io_threads(std::span<request* const> requests) noexcept;
  [[nodiscard]] bool start_by_ring_instead(request& refused) noexcept;
  [[nodiscard]] std::size_t restart_orphans(std::span<completion> from_ring) noexcept;
  [[nodiscard]] bool restart(request& orphan) noexcept;
  [[nodiscard]] wait_result sleep_at_io_threads(engine_threads& others, base::deadline until) noexcept;
  [[nodiscard]] bool watch_io_threads() const noexcept;
  [[nodiscard]] bool has_watches(const engine_threads& others) const noexcept;
  void restore_reader(const engine_threads& others) const noexcept;
  void watch_new_eventfd(const engine_threads& others, std::uint32_t serial_before) const noexcept;
  [[nodiscard]] std::uint32_t where_requests_are() const noexcept;
  void tell_sleeper(std::uint32_t where) noexcept;
  [[nodiscard]] wait_result sleep(std::uint32_t where, base::deadline until) noexcept;
  [[nodiscard]] wait_result sleep_at_both(engine_threads& others, base::deadline until) noexcept;
  [[nodiscard]] wait_result wait_without_ring(base::deadline until) noexcept;

  const std::unique_ptr<engine_uring> ring_;
  const unsigned in_flight_;
  mutable base::mutex watch_lock_;
  base::mutex lock_;
  std::unique_ptr<engine_threads> made_ DOORBELL_GUARDED_BY(lock_);
  base::atomic<engine_threads*> threads_{nullptr};

  getter_habit habit_;
  mutable base::atomic<bool> is_polled_{false};              // by the program: descriptor() has been called
  mutable base::atomic<bool> io_threads_are_silent_{false};  // no descriptor announces the I/O threads' completions
  base::atomic<std::uint32_t> in_ring_{0};                   // requests that are started or about to be, and not reaped
  // The same for requests of the I/O threads.
  base::atomic<std::uint32_t> with_io_threads_{0};
  base::atomic<std::uint32_t> place_{nowhere};  // where a thread sleeps
};

}  // namespace doorbell::aio
