// SPDX-License-Identifier: Apache-2.0
//
// engine_threads: requests carried out by the crew (crew.hpp), where io_uring is refused. A request that may sleep in the
// kernel goes to a worker (files, fsync). A request that waits for something else goes to the poller (polls; pipes, sockets
// and terminals that are not ready); it is tried, without sleeping, when its file is ready. The crew is the process's, the
// completions are the engine's own.
//
// A request's way. One atomic decides which thread goes on with it (threads_note.hpp):
//
//   start: O_DIRECT             -> the kernel's AIO -> done
//                               -> lane (the kernel has no room for it) -> worker
//          poll                 -> done, if it is ready
//                               -> poller -> done
//          transfer, not a file -> try -> done
//                                      -> poller, until it is ready -> try -> done, or wait again
//                                                                   -> lane (its file cannot be tried) -> worker
//          all else             -> lane -> worker -> done
//
// The crew works with its own descriptor of the request's file (file_pins.hpp). If no thread can be had, a request for a
// file is carried out in the thread that submits it.
//
// The sleeper and its news share one word, so that there is no order between two to get wrong:
//
//   sleeper                              whoever completes or wakes
//   word == 0 -> asleep (compare-exchange)     word |= ready or woken; was it asleep? futex_wake
//   futex_wait while word == asleep
//
//   legal:     the news come first: the compare-exchange fails. Or second: asleep is found, and futex_wait returns.
//   forbidden: asleep with news. A word has one modification order.
//
// While the kernel's AIO has requests, the sleeper sleeps there (kernel_aio.hpp), and says so in the word:
//
//   sleeper                              thread that starts a request in the kernel's AIO
//   word: 0 -> asleep                    counts the request
//   are there requests? looks again      word == asleep, not in the kernel -> word |= woken; futex_wake
//   futex_wait
//
//   legal:     the sleeper finds the request and looks again where to sleep. Or the starter finds it asleep.
//   forbidden: asleep on the futex while only the kernel's AIO has requests. All four are seq_cst.
//
// A sleep takes no lock and leaves nothing on the stack: a signal handler may make calls meanwhile, or never return
// to it. A sleeper that never returns leaves its bits in the word, which the next one clears.
//
// The kernel rings descriptor_ for its completions after it has published them, so a count may come after its
// completion has been fetched. rings_due_ says how many counts that belong to fetched completions are in the
// descriptor or on their way; it is negative if counts were taken out before their completions. Where another reader
// takes the counts (the ring of engine_failover), those are not on their way any more. While no thread waits for the
// descriptor, the counts stay.
//
// file_io_done() counts requests in the kernel's AIO when the kernel has published their completions. The kernel also
// waits for accepted ones in exit and execve (exit_aio), but finish_file_io() promises that they are in their files.
//
// Locks: kernel_aio's, the crew's start lock and that of the pins are taken under completion_lock_; those of the
// workers and of the poller never. The crew's one_at_a_time is held by a worker while it transfers.
// Memory ordering: by the locks, except for what passes through the kernel's AIO, which orders it (kernel_aio.hpp).
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/private_fd.hpp>

#include "crew.hpp"
#include "engine.hpp"
#include "kernel_aio.hpp"

namespace doorbell::aio {

class engine_threads final : public engine, private poller::client {
 public:
  /// On the process's workers and poller. Null when `ec` is set: not_enough_memory.
  /// @param in_flight how many requests there may be; beyond it, the kernel's AIO has no room.
  static std::unique_ptr<engine_threads> make(std::error_code& ec,
                                              unsigned in_flight = kernel_aio::usual_size) noexcept;
  explicit engine_threads(crew& with, unsigned in_flight = kernel_aio::usual_size) noexcept
      : crew_{&with}, first_lane_{*this, with, nullptr}, direct_{in_flight} {}
  /// All that was started has been reaped.
  ~engine_threads() override;

  [[nodiscard]] std::string_view name() const noexcept override { return "threads"; }
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] cancel_result cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  [[nodiscard]] bool has_finished_some() const noexcept override {
    return (word_.load(base::memory_order_acquire) & completions_bit) != 0;
  }
  [[nodiscard]] file_io file_io_done() const noexcept override {
    // In this order: a request that is fetched in between is missed, and not counted twice.
    const auto done = files_done_.load(base::memory_order_seq_cst);
    return {.carried_out = done + direct_.carried_out()};
  }
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override DOORBELL_NO_THREAD_SAFETY_ANALYSIS;
  [[nodiscard]] int descriptor() const noexcept override;
  /// The same for a reader that takes the counts out.
  [[nodiscard]] int descriptor_for_reader() const noexcept;
  void ignore_descriptors() noexcept override;
  [[nodiscard]] bool has_completions() const noexcept { return has_finished_some() || direct_.carried_out() > 0; }
  /// Whether there are requests whose completions the descriptor does not announce (kernel_aio.hpp).
  [[nodiscard]] bool has_unannounced() const noexcept { return direct_.has_unannounced(); }
  /// The program may have closed the descriptor that the kernel's AIO rings.
  [[nodiscard]] bool must_be_looked_at() const noexcept override {
    const bool is_silent =
        has_lost_crew_.load(base::memory_order_relaxed) || is_unannounced_.load(base::memory_order_relaxed);
    return (is_silent && with_crew_.load(base::memory_order_relaxed) > 0) || direct_.has_completions() ||
           has_unannounced();
  }

 private:
  // What the word says.
  static constexpr std::uint32_t completions_bit = 1;  // there are completions
  static constexpr std::uint32_t woken_bit = 2;        // wake() was called, and the sleeper has not seen it
  static constexpr std::uint32_t asleep_bit = 4;       // a thread sleeps on it
  static constexpr std::uint32_t in_kernel_bit = 8;    // it sleeps in the kernel's AIO instead

  /// The requests that wait for the workers of one crew. A lane belongs to one pool, whose lock guards it; and a worker
  /// finds the file of a request in its own table only.
  class crew_lane final : public worker_pool::lane {
   public:
    crew_lane(engine_threads& whose, crew& with, crew_lane* older) noexcept
        : whose_{whose}, with_{&with}, older_{older} {}
    [[nodiscard]] bool is_of(const crew& one) const noexcept { return with_ == &one; }
    [[nodiscard]] crew_lane* older() const noexcept { return older_; }

   private:
    void carry_out(request& taken) noexcept override { whose_.carry_out(taken); }
    void conclude(request& carried_out) noexcept override { whose_.conclude(carried_out); }

    engine_threads& whose_;
    const base::intrusive_ptr<crew> with_;
    crew_lane* const older_;
  };

  /// Null: there is none.
  [[nodiscard]] crew_lane* find_lane(const crew& with) const noexcept;
  /// The lane of the crew that has the request.
  [[nodiscard]] crew_lane& lane_of(const request& held) const noexcept { return *find_lane(*held.by_threads.with); }
  /// Makes it the crew of new requests. Errors: not_enough_memory.
  void change_to(crew& next, std::error_code& ec) noexcept;

  // Each starts or goes on with a request that the caller holds. @return false: it cannot be started now.
  [[nodiscard]] bool start_one(request& held) noexcept;
  [[nodiscard]] bool start_poll(request& held) noexcept;
  [[nodiscard]] bool start_transfer(request& held) noexcept;
  [[nodiscard]] bool wait_for(request& held) noexcept;
  [[nodiscard]] bool give_to_worker(request& held) noexcept;
  void carry_out_inline(request& held) noexcept;
  void wait_again(request& held) noexcept;

  [[nodiscard]] std::error_code pin(request& held, file_pins::sharing share) noexcept;
  [[nodiscard]] std::error_code pin_with(crew& which, request& held, file_pins::sharing share) noexcept;
  void has_left_crew(request& done) noexcept;

  void carry_out(request& taken) noexcept;
  void conclude(request& carried_out) noexcept;
  void try_again(request& taken) noexcept;
  void transfer_if_ready(request& taken, int fd) noexcept;
  static void note_done(request& taken, std::int64_t res) noexcept;
  void ready(request& taken, unsigned events) noexcept override;
  void refused(request& taken, int error) noexcept override;

  [[nodiscard]] std::size_t start_direct(std::span<request* const> requests) noexcept;
  void add_locked(std::span<const completion> fetched) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void fetch_direct_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] bool has_news() const noexcept {
    return (word_.load(base::memory_order_seq_cst) & (completions_bit | woken_bit)) != 0;
  }
  [[nodiscard]] wait_result sleep_in_kernel(base::deadline until) noexcept;
  [[nodiscard]] bool wake_in_kernel(std::uint32_t word) noexcept;
  [[nodiscard]] bool is_watched() const noexcept { return is_watched_.load(base::memory_order_relaxed); }
  [[nodiscard]] int descriptor_locked() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] int watch_locked() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);

  void finish(request& held, std::int64_t res) noexcept;
  void complete(request& done) noexcept;
  void ring_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void unpin_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void pin_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void empty_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void nothing_left() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  std::uint32_t tell(std::uint32_t news) noexcept;
  [[nodiscard]] wait_result wake_up(wait_result because) noexcept;

  base::atomic<crew*> crew_;
  crew_lane first_lane_;
  // The newest one; release: it is complete. Written under completion_lock_. They live as long as the engine.
  base::atomic<crew_lane*> lanes_{&first_lane_};
  mutable base::atomic<bool> is_unannounced_{false};  // the crew could not be given the descriptor
  base::atomic<bool> has_lost_crew_{false};           // which cannot ring the descriptor for requests that it still has
  base::atomic<std::uint32_t> with_crew_{0};          // requests that have a pin, or had one and have not been reaped
  kernel_aio direct_;

  mutable base::mutex completion_lock_;
  request_queue completions_ DOORBELL_GUARDED_BY(completion_lock_);            // in the order in which they came
  mutable base::private_fd descriptor_ DOORBELL_GUARDED_BY(completion_lock_);  // an eventfd, made on demand
  // The same eventfd in the crew's table.
  mutable crew* rung_by_ DOORBELL_GUARDED_BY(completion_lock_) = nullptr;
  mutable file_pins::ticket pinned_descriptor_ DOORBELL_GUARDED_BY(completion_lock_) = 0;

  mutable bool has_reader_ DOORBELL_GUARDED_BY(completion_lock_) = false;  // another reader takes the counts

  // Changed under completion_lock_.
  mutable base::atomic<bool> is_watched_{false};     // descriptor_ has been given out
  mutable base::atomic<std::int64_t> rings_due_{0};  // in descriptor_, for completions that have been fetched

  base::atomic<std::uint32_t> word_{0};
  base::atomic<std::uint64_t> files_done_{0};  // requests that end by themselves, carried out and not reaped
};

}  // namespace doorbell::aio
