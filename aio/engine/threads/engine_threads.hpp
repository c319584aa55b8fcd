// SPDX-License-Identifier: Apache-2.0
//
// engine_threads: requests carried out by the I/O threads (io_threads.hpp): all requests where io_uring is refused, and
// otherwise those that engine_failover does not start in the ring. A request that may sleep in the kernel goes to a
// worker (files, fsync). A request that waits for something else goes to the poller (polls; pipes, sockets and
// terminals that are not ready); when its file is ready, the poller's thread tries it without sleeping. The I/O threads
// belong to the process, the completions to the engine.
//
// The path of a request. One atomic decides which thread handles it next (threads_request_state.hpp):
//
//   start: O_DIRECT             -> the kernel's AIO -> done
//                               -> queue (the kernel's context is full) -> worker
//          poll                 -> done, if it is ready
//                               -> poller -> done
//          transfer, not a file -> try -> done
//                                      -> poller, until it is ready -> try -> done, or wait again
//                                                                   -> queue (its file cannot be tried) -> worker
//          all else             -> queue -> worker -> done
//
// The I/O threads use their own descriptor of the request's file (file_pins.hpp). If a request for a file cannot be
// passed to the I/O threads, the submitting thread carries it out.
//
// The state of the sleeper and the reasons to wake it share one word, so that no order between two variables matters:
//
//   sleeper                                   thread that completes a request or calls wake()
//   word == 0 -> asleep (compare-exchange)    word |= completions or woken; was asleep ? -> futex_wake
//   futex_wait while word == asleep
//
//   legal:     the other thread is first: the compare-exchange fails. Or second: it finds asleep; futex_wait returns.
//   forbidden: asleep, with completions or woken, and no wakeup. A word has one modification order.
//
// While the kernel's AIO has requests, the sleeper sleeps there (kernel_aio.hpp), and sets a bit of the word:
//
//   sleeper                              thread that starts a request in the kernel's AIO
//   word: 0 -> asleep                    counts the request
//   requests ? -> chooses again          word == asleep, not in the kernel -> word |= woken; futex_wake
//   futex_wait
//
//   legal:     the sleeper finds the request and chooses again where to sleep. Or the starter finds it asleep.
//   forbidden: asleep on the futex while only the kernel's AIO has requests. All four accesses are seq_cst.
//
// A sleep takes no lock and leaves nothing on the stack: a signal handler may make calls meanwhile, or leave the sleep
// by siglongjmp(3). A sleeper that never returns leaves its bits in the word; the next sleeper clears them.
//
// The program may close the I/O threads' descriptors; the process then gets another set of I/O threads. It may close
// descriptor_, too, or keep it, because descriptor() has returned its number. Each set that has requests of this engine
// has a pin of its own, of the eventfd that was current when the engine used the set:
//
//   submitter A                          submitter B                          an I/O thread of set 1
//   cannot send a file to set 1
//   pins descriptor_ in set 2            counts its request in set 1
//   io_threads_ = set 2                  io_threads_ is set 1 ? -> starts
//   set 1 has requests ?                    the request there
//     no -> ends the pin in set 1                                             completes B's request
//                                                                             signals by the pin in set 1
//
//   legal:     A finds B's request in set 1 and keeps the pin, or B finds io_threads_ changed and goes to set 2.
//   forbidden: set 1 has a request and no pin. All four accesses are seq_cst. Exception: if no thread has waited for
//              the eventfd before the loss, set 1 never gets a pin, because nothing can be sent to it.
//
// Set 1 ends when it has no pins. So reap() ends its pin when the last of the requests there has been reaped. If an
// eventfd cannot be pinned in place of an older one, the pin of the older one stays.
//
// A reader of the counts (the ring of engine_failover) must learn that descriptor_ has been replaced. eventfd_serial()
// changes with each new eventfd:
//
//   submitter A: start()                 submitter B: start()                 reader
//   finds that descriptor_ is lost                                            reads eventfd 1
//   eventfd 2: pinned in set 2
//   serial = 2
//   io_threads_ = set 2
//                                        io_threads_ is set 2: starts there
//   serial has changed                   serial has changed                   also reads eventfd 2
//
//   legal:     A or B lets the reader read eventfd 2, and no submit returns before.
//   forbidden: B starts a request in set 2, and does not see the new serial. A stores the serial before io_threads_
//              (release), and B loads it after io_threads_ (acquire). A completion that comes before the reader reads
//              eventfd 2 leaves its count there.
//
// The kernel signals descriptor_ for a completion after it has published the completion, so the count may come after
// this engine has fetched the completion from the kernel's ring. counts_due_ is the number of counts for fetched
// completions that are in the descriptor, or will come; it is negative if counts were taken out before their
// completions were fetched. If another reader (the ring of engine_failover) takes the counts, counts_due_ is set to 0
// whenever this engine empties the descriptor. While no thread waits for the descriptor, the counts stay in it.
//
// file_io_done() counts a request in the kernel's AIO when the kernel has published its completion. The kernel also
// waits for accepted requests in exit and execve (exit_aio), but finish_file_io() promises that their data is in the
// files.
//
// Locks: kernel_aio's lock, the I/O threads' start_lock_ and the lock of file_pins are taken under completion_lock_;
// the locks of the workers and of the poller never are. A worker holds the I/O threads' transfer_mutex during some
// transfers. Memory ordering: by the locks, except for requests that pass through the kernel's AIO, which orders them
// (kernel_aio.hpp).
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/private_fd.hpp>

#include "../engine.hpp"
#include "../engine_names.hpp"
#include "../kernel/kernel_aio.hpp"
#include "io_threads.hpp"

namespace doorbell::aio {

class engine_threads final : public engine, private poller::client {
 public:
  /// Creates an engine that uses the process's I/O threads. Null when `ec` is set: not_enough_memory.
  /// @param in_flight the maximum number of requests in flight; beyond it, the kernel's AIO has no free slot.
  static std::unique_ptr<engine_threads> make(std::error_code& ec,
                                              unsigned in_flight = kernel_aio::usual_size) noexcept;
  explicit engine_threads(io_threads& with, unsigned in_flight = kernel_aio::usual_size) noexcept
      : io_threads_{&with}, first_queue_{*this, with, nullptr}, direct_{in_flight} {}
  /// All started requests must have been reaped.
  ~engine_threads() override;

  [[nodiscard]] std::string_view name() const noexcept override { return names_of(engine_kind::threads).name; }
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] cancel_result cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  [[nodiscard]] bool has_finished_some() const noexcept override {
    return (word_.load(base::memory_order_acquire) & completions_bit) != 0;
  }
  [[nodiscard]] file_io file_io_done() const noexcept override {
    // In this order: a request that is fetched in between is missed, but not counted twice.
    const auto done = files_done_.load(base::memory_order_seq_cst);
    return {.carried_out = done + direct_.carried_out()};
  }
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override DOORBELL_NO_THREAD_SAFETY_ANALYSIS;
  [[nodiscard]] int descriptor() const noexcept override;
  /// An eventfd of this engine. Two eventfds of one engine have different serial numbers.
  struct numbered_eventfd {
    int number;            ///< -1: none
    std::uint32_t serial;  ///< as of eventfd_serial()
  };
  /// The same as descriptor(), for a caller that reads the counts from the eventfd.
  [[nodiscard]] numbered_eventfd descriptor_for_reader() const noexcept;
  /// The serial number of the newest eventfd; 0: there has been none. If a call of start(), reap() or cancel() has
  /// changed it, the caller of descriptor_for_reader() must read another eventfd. No system call.
  [[nodiscard]] std::uint32_t eventfd_serial() const noexcept {
    return eventfd_serial_.load(base::memory_order_acquire);
  }
  void announce() noexcept override;
  void ignore_descriptors() noexcept override;
  [[nodiscard]] bool has_completions() const noexcept { return has_finished_some() || direct_.carried_out() > 0; }
  /// Also if the kernel's AIO has completions: the program may have closed the descriptor that the kernel signals.
  [[nodiscard]] bool must_be_looked_at() const noexcept override {
    const bool is_silent =
        (has_lost_io_threads_.load(base::memory_order_seq_cst) && has_requests_in_lost_io_threads()) ||
        (io_threads_lack_descriptor_.load(base::memory_order_seq_cst) && has_pinned_requests());
    return is_silent || direct_.has_completions() || direct_.has_unnotified();
  }

 private:
  // The bits of word_.
  static constexpr std::uint32_t completions_bit = 1;  // there are completions
  static constexpr std::uint32_t woken_bit = 2;        // wake() was called, and the sleeper has not seen it
  static constexpr std::uint32_t asleep_bit = 4;       // a thread sleeps on the word
  static constexpr std::uint32_t in_kernel_bit = 8;    // this thread sleeps in the kernel's AIO instead

  /// The requests that wait for the workers of one set of I/O threads. An engine has one such queue for each set that
  /// it has used, because the lock of the set's pool guards the queue, and a worker finds the file of a request only in
  /// its own table.
  class io_threads_queue final : public worker_pool::per_context_queue {
   public:
    io_threads_queue(engine_threads& whose, io_threads& with, io_threads_queue* older) noexcept
        : whose_{whose}, with_{&with}, older_{older} {}
    [[nodiscard]] bool is_of(const io_threads& one) const noexcept { return with_ == &one; }
    [[nodiscard]] io_threads_queue* older() const noexcept { return older_; }

    // The engine's eventfd in the table of this set. Both are guarded by the engine's completion_lock_.
    file_pins::ticket pinned_eventfd = 0;  // 0: none
    std::uint32_t pinned_serial = 0;       // which eventfd that is
    /// Requests of the engine that have, had or are about to have a pin in this set, and are not reaped.
    base::atomic<std::uint32_t> requests{0};

    void unpin_eventfd() noexcept {
      if (pinned_eventfd != 0) with_->pins.unpin(std::exchange(pinned_eventfd, 0));
    }

   private:
    void carry_out(request& taken) noexcept override { whose_.carry_out(taken); }
    void conclude(request& carried_out) noexcept override { whose_.conclude(carried_out); }

    engine_threads& whose_;
    const base::intrusive_ptr<io_threads> with_;
    io_threads_queue* const older_;
  };

  /// @return null: the engine has not used this set of I/O threads.
  [[nodiscard]] io_threads_queue* find_queue(const io_threads& with) const noexcept;
  /// The queue in a set that the engine has used.
  [[nodiscard]] io_threads_queue& queue_in(const io_threads& with) const noexcept;
  /// Whether a set of I/O threads has requests of this engine.
  [[nodiscard]] bool has_pinned_requests() const noexcept;
  /// The same for the sets to which no new requests are passed.
  [[nodiscard]] bool has_requests_in_lost_io_threads() const noexcept;
  /// The queue for the set of I/O threads that has the request.
  [[nodiscard]] io_threads_queue& queue_of(const request& held) const noexcept {
    return queue_in(*held.by_threads.with);
  }
  /// Passes new requests to the set `next`, unless they are passed to a newer one already. Errors: not_enough_memory.
  /// @return the set that new requests are passed to: `next`, or a newer one.
  io_threads* change_to(io_threads& next, std::error_code& ec) noexcept;

  // Each starts or continues a request that the caller holds. @return false: it cannot be started now.
  [[nodiscard]] bool start_one(request& held) noexcept;
  [[nodiscard]] bool start_poll(request& held) noexcept;
  [[nodiscard]] bool start_transfer(request& held) noexcept;
  [[nodiscard]] bool wait_for(request& held) noexcept;
  [[nodiscard]] bool give_to_worker(request& held) noexcept;
  void carry_out_inline(request& held) noexcept;
  void wait_again(request& held) noexcept;

  [[nodiscard]] std::error_code pin(request& held, file_pins::sharing share) noexcept;
  [[nodiscard]] std::error_code pin_with(io_threads& which, request& held, file_pins::sharing share) noexcept;
  void has_left_io_threads(request& done) noexcept;

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
  void renew_descriptor_if_lost() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] int descriptor_locked() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] int watch_locked() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);

  void finish(request& held, std::int64_t res) noexcept;
  void complete(request& done) noexcept;
  void signal_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  std::error_code pin_descriptor(io_threads& with) const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] bool has_current_pin(const io_threads_queue& queue) const noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void unpin_from_unused_io_threads() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void empty_descriptor() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  void nothing_left() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  std::uint32_t tell(std::uint32_t bits) noexcept;
  [[nodiscard]] wait_result wake_up(wait_result because) noexcept;

  base::atomic<io_threads*> io_threads_;
  io_threads_queue first_queue_;
  // The newest queue; release: it is complete. Written under completion_lock_. Queues live as long as the engine.
  base::atomic<io_threads_queue*> queues_{&first_queue_};
  mutable base::atomic<bool> io_threads_lack_descriptor_{false};  // descriptor_ has no pin in their table
  base::atomic<bool> has_lost_io_threads_{false};  // a lost set of I/O threads may be unable to signal descriptor_
  kernel_aio direct_;

  mutable base::mutex completion_lock_;
  request_queue completions_ DOORBELL_GUARDED_BY(completion_lock_);            // in the order in which they came
  mutable base::private_fd descriptor_ DOORBELL_GUARDED_BY(completion_lock_);  // an eventfd, created on demand
  mutable base::atomic<std::uint32_t> eventfd_serial_{0};                      // of descriptor_; release, see above
  mutable bool has_reader_ DOORBELL_GUARDED_BY(completion_lock_) = false;      // another reader takes the counts

  // Changed under completion_lock_.
  mutable base::atomic<bool> is_watched_{false};      // a thread may wait for descriptor_
  mutable base::atomic<std::int64_t> counts_due_{0};  // counts in descriptor_, or to come, of fetched completions

  base::atomic<std::uint32_t> word_{0};
  base::atomic<std::uint64_t> files_done_{0};  // requests that end by themselves: carried out, not reaped
};

}  // namespace doorbell::aio
