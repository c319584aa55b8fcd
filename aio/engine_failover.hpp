// SPDX-License-Identifier: Apache-2.0
//
// engine_failover: a ring for the requests of files, and the crew (engine_threads) for all others.
//
// The ring carries requests that end by themselves and that the kernel starts without a thread: reads of files and disks,
// and transfers with O_DIRECT. The crew carries requests that wait for something else (polls, pipes, sockets, terminals),
// and those for which io_uring would use a thread of its own (fsync, writes through the page cache). In the ring, these
// would be cancelled when the thread that submitted them ends, or when the process may have no further thread; and io_uring
// adds an event to polls that the program did not ask for (RDHUP).
//
// A completion in the ring interrupts the sleep of the thread that submitted the request (getter_habit.hpp). Therefore
// a request goes to the ring only if that thread
//   - is in the habit of sleeping for events of the context, and the request signals no eventfd, because a thread that
//     waits for an eventfd sleeps elsewhere; or
//   - waits for the events by the descriptor, in a loop that the program has made for it: descriptor() has been asked
//     for.
// Otherwise the crew takes it, which passes O_DIRECT requests to the kernel's own AIO (kernel_aio.hpp).
//
// From the moment on at which the ring stops working (see engine_uring), the crew carries all requests. No request is
// started twice: the kernel carries out the requests that it has taken, and their completions are in the memory of the ring;
// only requests that the kernel has never seen are started by the crew.
//
//   submitter A                          submitter B                       sleeper in the ring
//   ring's start(): EBADF                ring's start(): nothing started   sleeps for at most a second
//   stand_in(): lock; makes threads      stand_in(): lock; finds threads
//   threads' start()                     threads' start()                  wakes; has threads; sleeps there
//
//   legal:     each request is started once, by the ring or by threads.
//   forbidden: a request started by both. The ring never reports a request as not started that the kernel may have taken.
//
// A thread sleeps where there are requests: in the ring, in the crew's engine, or at the descriptors of both. Requests
// that are started elsewhere meanwhile wake it, so that it looks again where to sleep:
//
//   sleeper                              thread that starts a request in the ring; with the crew likewise
//   place_ = at_crew                     ++in_ring_
//   in_ring_ > 0 ? -> looks again        starts it
//   sleeps in the crew's engine          place_ is not the ring ? -> wakes the sleeper
//
//   legal:     the sleeper finds the request, or the starter finds where it sleeps.
//   forbidden: a request, and a sleeper that its completion does not wake. All four are seq_cst. place_ may be that of
//              a sleeper that has left by siglongjmp(3): then the next one stores its own later, and finds the request.
//
// Once the program has asked for the descriptor, the ring announces the crew's completions, too: it reads the eventfd
// that they ring.
//
//   thread of the crew                   a thread that reaps               sleeper in the ring
//   completion on the list
//   rings the eventfd                    takes the ring's completions      sleeps while the ring has none
//                                        watches again
//                                        takes the list
//
//   legal:     the read is in the ring when the eventfd is rung, or comes later and finds its count.
//   forbidden: a completion on the list, the read taken, and no new read. The thread that takes the read watches again
//              before it takes the list; if it cannot, must_be_looked_at() says so, and no sleep is longer than a
//              millisecond.
//
// If the ring does not work any more and still has requests, a sleeper looks into it every millisecond, because nothing
// tells it of completions in there.
//
// A thread that ends takes those of its requests with it that io_uring has given to a thread of its own and not started.
// They are started again, if their number still refers to the file that they were submitted for; otherwise they fail with
// -ECANCELED.
//
// A request that the crew cannot take because the process may have no thread goes to the ring whoever submits it, except
// a poll of a socket that RDHUP would complete although it asks for nothing that comes with it.
//
// Thread safety: as of engine. Lock: a leaf.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

#include "engine.hpp"
#include "engine_threads.hpp"
#include "engine_uring.hpp"
#include "getter_habit.hpp"

namespace doorbell::aio {

class engine_failover final : public engine {
 public:
  /// @param in_flight how many requests there may be.
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
  void give_up() noexcept override { ring_->give_up(); }
  void note_sleep() noexcept override { habit_.note_sleep(); }
  void note_late() noexcept override { habit_.note_late(); }
  void note_look() noexcept override { habit_.note_look(); }
  void note_departure() noexcept override { habit_.note_departure(); }

 private:
  // Where a sleeper finds completions.
  static constexpr std::uint32_t nowhere = 0;
  static constexpr std::uint32_t at_ring = 1;
  static constexpr std::uint32_t at_crew = 2;

  // Acquire pairs with the release in stand_in().
  [[nodiscard]] engine_threads* threads() const noexcept { return threads_.load(base::memory_order_acquire); }
  [[nodiscard]] engine_threads* stand_in() noexcept;
  [[nodiscard]] bool is_polled() const noexcept { return is_polled_.load(base::memory_order_relaxed); }
  /// Whether requests of the calling thread may go to the ring.
  [[nodiscard]] bool may_use_ring() const noexcept {
    return ring_->works() && (is_polled() || habit_.is_of_this_thread());
  }
  [[nodiscard]] std::size_t start_by_ring(std::span<request* const> requests) noexcept;
  [[nodiscard]] std::size_t start_by_crew(std::span<request* const> requests) noexcept;
  [[nodiscard]] bool start_by_ring_instead(request& refused) noexcept;
  [[nodiscard]] std::size_t restart_orphans(std::span<completion> from_ring) noexcept;
  [[nodiscard]] bool restart(request& orphan) noexcept;
  [[nodiscard]] bool watch_crew() const noexcept;
  [[nodiscard]] std::uint32_t where_requests_are() const noexcept;
  void tell_sleeper(std::uint32_t where) noexcept;
  [[nodiscard]] wait_result sleep(std::uint32_t where, base::deadline until) noexcept;
  [[nodiscard]] wait_result sleep_at_both(engine_threads& others, base::deadline until) noexcept;
  [[nodiscard]] wait_result wait_without_ring(base::deadline until) noexcept;

  const std::unique_ptr<engine_uring> ring_;
  const unsigned in_flight_;
  base::mutex lock_;
  std::unique_ptr<engine_threads> made_ DOORBELL_GUARDED_BY(lock_);
  base::atomic<engine_threads*> threads_{nullptr};

  getter_habit habit_;
  mutable base::atomic<bool> is_polled_{false};       // by the program: descriptor() has been asked for
  mutable base::atomic<bool> crew_is_silent_{false};  // no descriptor can be had that announces its completions
  base::atomic<std::uint32_t> in_ring_{0};            // requests that have been started, or are about to be, not reaped
  base::atomic<std::uint32_t> with_crew_{0};
  base::atomic<std::uint32_t> place_{nowhere};  // where a thread sleeps
};

}  // namespace doorbell::aio
