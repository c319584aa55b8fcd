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
// While the ring works, it announces the crew's completions, too: it reads the eventfd that they ring.
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
// Thread safety: as of engine. Lock: a leaf.
#pragma once

#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

#include "engine.hpp"
#include "engine_threads.hpp"
#include "engine_uring.hpp"

namespace doorbell::aio {

class engine_failover final : public engine {
 public:
  explicit engine_failover(std::unique_ptr<engine_uring> ring) noexcept : ring_{std::move(ring)} {
    ring_->become_part_of(*this);
  }

  /// The name of the engine that carries files.
  [[nodiscard]] std::string_view name() const noexcept override;
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] bool takes_many_by_one_call() const noexcept override { return ring_->works(); }
  [[nodiscard]] cancel_result cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  [[nodiscard]] file_io file_io_done() const noexcept override;
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override;
  [[nodiscard]] unsigned replacements() const noexcept override { return ring_->works() ? 0 : 1; }
  [[nodiscard]] bool must_be_looked_at() const noexcept override;
  void give_up() noexcept override { ring_->give_up(); }

 private:
  // Acquire pairs with the release in stand_in().
  [[nodiscard]] engine_threads* threads() const noexcept { return threads_.load(base::memory_order_acquire); }
  [[nodiscard]] engine_threads* stand_in() noexcept;
  [[nodiscard]] std::size_t start_by_crew(std::span<request* const> requests) noexcept;
  [[nodiscard]] bool start_by_ring_instead(request& refused) noexcept;
  [[nodiscard]] std::size_t restart_orphans(std::span<completion> from_ring) noexcept;
  [[nodiscard]] bool restart(request& orphan) noexcept;
  void watch_crew() noexcept;

  const std::unique_ptr<engine_uring> ring_;
  base::mutex lock_;
  std::unique_ptr<engine_threads> made_ DOORBELL_GUARDED_BY(lock_);
  base::atomic<engine_threads*> threads_{nullptr};
};

}  // namespace doorbell::aio
