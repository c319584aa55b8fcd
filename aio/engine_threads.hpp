// SPDX-License-Identifier: Apache-2.0
//
// engine_threads: requests carried out by the crew (crew.hpp), where io_uring is refused. A request that may sleep in the
// kernel goes to a worker (files, fsync). A request that waits for something else goes to the poller (polls; pipes, sockets
// and terminals that are not ready); it is tried, without sleeping, when its file is ready. The crew is the process's, the
// completions are the engine's own.
//
// A request's way. One atomic decides which thread goes on with it (threads_note.hpp):
//
//   start: poll                 -> done, if it is ready
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
// Locks: completion_lock_ is taken before that of the pins; those of the workers and of the poller are never taken together
// with it. The crew's one_at_a_time is held by a worker while it transfers.
// Memory ordering: by the locks alone; nothing passes through the kernel that they do not order as well.
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/private_fd.hpp>

#include "crew.hpp"
#include "engine.hpp"

namespace doorbell::aio {

class engine_threads final : public engine, private worker_pool::lane, private poller::client {
 public:
  /// On the process's workers and poller. Null when `ec` is set: not_enough_memory.
  static std::unique_ptr<engine_threads> make(std::error_code& ec) noexcept;
  explicit engine_threads(crew& with) noexcept : crew_{&with} {}
  /// All that was started has been reaped.
  ~engine_threads() override;

  [[nodiscard]] std::string_view name() const noexcept override { return "threads"; }
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] cancel_result cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  [[nodiscard]] file_io file_io_done() const noexcept override {
    return {.carried_out = files_done_.load(base::memory_order_seq_cst)};
  }
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override DOORBELL_NO_THREAD_SAFETY_ANALYSIS;
  [[nodiscard]] int descriptor() const noexcept override;
  [[nodiscard]] bool has_completions() const noexcept {
    return (word_.load(base::memory_order_acquire) & completions_bit) != 0;
  }
  [[nodiscard]] bool must_be_looked_at() const noexcept override {
    const bool has_unannounced =
        has_lost_crew_.load(base::memory_order_relaxed) && with_crew_.load(base::memory_order_relaxed) > 0;
    return has_unannounced || is_unannounced_.load(base::memory_order_relaxed);
  }

 private:
  // What the word says.
  static constexpr std::uint32_t completions_bit = 1;  // there are completions
  static constexpr std::uint32_t woken_bit = 2;        // wake() was called, and the sleeper has not seen it
  static constexpr std::uint32_t asleep_bit = 4;       // somebody sleeps on it

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

  void carry_out(request& taken) noexcept override;
  void conclude(request& carried_out) noexcept override;
  void try_again(request& taken) noexcept;
  void transfer_if_ready(request& taken, int fd) noexcept;
  static void note_done(request& taken, std::int64_t res) noexcept;
  void ready(request& taken, unsigned events) noexcept override;
  void refused(request& taken, int error) noexcept override;

  void finish(request& held, std::int64_t res) noexcept;
  void complete(request& done) noexcept;
  void ring_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void pin_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void nothing_left() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] bool tell(std::uint32_t news) noexcept;
  [[nodiscard]] wait_result wake_up(wait_result because) noexcept;

  base::atomic<crew*> crew_;
  mutable base::atomic<bool> is_unannounced_{false};  // the crew could not be given the descriptor
  base::atomic<bool> has_lost_crew_{false};           // which cannot ring the descriptor for requests that it still has
  base::atomic<std::uint32_t> with_crew_{0};          // requests that have a pin, or had one and have not been reaped

  mutable base::mutex completion_lock_;
  request_queue completions_ DOORBELL_GUARDED_BY(completion_lock_);            // in the order in which they came
  mutable base::private_fd descriptor_ DOORBELL_GUARDED_BY(completion_lock_);  // an eventfd, made on demand
  // The same eventfd in the crew's table.
  mutable crew* rung_by_ DOORBELL_GUARDED_BY(completion_lock_) = nullptr;
  mutable file_pins::ticket pinned_descriptor_ DOORBELL_GUARDED_BY(completion_lock_) = 0;

  base::atomic<std::uint32_t> word_{0};
  base::atomic<std::uint64_t> files_done_{0};  // requests that end by themselves, carried out and not reaped
};

}  // namespace doorbell::aio
