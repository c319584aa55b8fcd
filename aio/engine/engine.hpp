// SPDX-License-Identifier: Apache-2.0
//
// engine: carries out the requests of one context.
//
// Thread safety: start, cancel, reap and wake may be called concurrently. One thread at a time may sleep in wait(),
// between begin_wait() and end_wait(). The other threads need not know about the sleeper, with one exception:
//
//   sleeper                              thread with an event that is no completion (events published, context dead)
//   begin_wait(): waiting_ = true        publishes the event
//   checks for events                    waiting()?  -> wake()
//   wait()
//
//   legal:     the sleeper finds the event, or the other thread finds waiting_ set and wakes the sleeper.
//   forbidden: neither. All four accesses are seq_cst, so at least one of the two reads sees the other thread's write.
//
// reap() in another thread must not consume a wakeup while the sleeper still waits; see engine_uring::reap().
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>

#include "../request/request.hpp"

namespace doorbell::aio {

class engine {
 public:
  enum class wait_result { ready, timed_out, interrupted };

  engine() = default;
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  virtual ~engine() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;

  /// Starts requests, in order. From then on, any thread may reap their completions.
  /// @return the number of started requests; the caller keeps the others.
  [[nodiscard]] virtual std::size_t start(std::span<request* const> requests) noexcept = 0;

  /// Whether start() of many requests costs hardly more than of one, because it makes one system call for all.
  [[nodiscard]] virtual bool takes_many_by_one_call() const noexcept { return false; }

  /// The result of cancel().
  enum class cancel_result {
    asked,      ///< the completion comes, whether the request was cancelled or not
    try_again,  ///< there is no memory now, or completions must be reaped first
    impossible  ///< the engine can no longer cancel this request; it completes when it has been carried out
  };

  /// Requests the cancellation of a started request. The completion comes in any case. The caller holds a reference to
  /// the request.
  [[nodiscard]] virtual cancel_result cancel(request& started) noexcept = 0;

  /// Drops requests that cancel() cannot end. Only destroy() calls this, after it has waited for the requests that
  /// complete by themselves. By then no other thread uses the engine, except sleepers whose records were taken
  /// (sleep_record.hpp), which may still be in wait(). Afterwards reap() returns no completions.
  virtual void give_up() noexcept {}

  /// Fetches completions without waiting. Each completion is returned once.
  /// @return the number of completions; 0 if there are none now.
  [[nodiscard]] virtual std::size_t reap(std::span<completion> completions) noexcept = 0;

  /// The progress of the requests that end by themselves and have not been reaped.
  struct file_io {
    std::uint64_t carried_out = 0;  ///< how many have been carried out
    bool must_be_reaped = false;    ///< reap() may find requests that were not carried out and must be started again;
                                    ///< or the completion queue is full, and reap() makes space for completions
                                    ///< that carried_out does not include
  };
  /// Takes no lock. May be called in a signal handler that has interrupted another member, and concurrently with all
  /// members except give_up() and the destructor.
  [[nodiscard]] virtual file_io file_io_done() const noexcept = 0;

  /// Whether reap() would return completions of requests that start() itself has completed. Other completions may
  /// count, too.
  [[nodiscard]] virtual bool has_finished_some() const noexcept { return false; }

  /// Called by a thread that has reaped completions for which the program may wait at the descriptor, after their
  /// events are in the ring of the context. Makes descriptor() readable, which is an edge, until a thread of the
  /// program calls reap(). May have no effect if no thread waits for the descriptor.
  virtual void announce() noexcept {}

  /// Sleeps until there may be something to reap, wake() is called, a signal handler has run, or `until`.
  virtual wait_result wait(base::deadline until) noexcept = 0;
  virtual void wake() noexcept = 0;

  /// In a child of fork(2): closes the inherited descriptors. No other member is called afterwards.
  virtual void abandon_in_child() noexcept = 0;

  /// A descriptor for the program's event loop: readable while there is something to reap; each completion is an edge.
  /// @return -1 if there is none.
  [[nodiscard]] virtual int descriptor() const noexcept = 0;
  /// The same for the library's own threads, which can wait for two descriptors: each completion is an edge of one of
  /// them.
  /// @return -1 for a descriptor that does not exist. If there is only one descriptor, it is the first.
  // equivalent fault (constant): each negative number is no descriptor
  [[nodiscard]] virtual std::array<int, 2> descriptors() const noexcept { return {descriptor(), -1}; }
  /// No thread waits for these descriptors until they are requested again.
  virtual void ignore_descriptors() noexcept {}
  /// How many times descriptor() or descriptors() have changed.
  // equivalent fault (constant): only a change counts
  [[nodiscard]] virtual unsigned replacements() const noexcept { return 0; }
  /// Whether there may be completions that the descriptors do not announce, so that a thread that waits at the
  /// descriptors must also call reap() regularly.
  [[nodiscard]] virtual bool must_be_looked_at() const noexcept { return false; }

  /// The calling thread is about to sleep for events of the context.
  virtual void note_sleep() noexcept {}
  /// The calling thread fetches events, without having slept, after all requests had been completed.
  virtual void note_late() noexcept {}
  /// The calling thread has polled for events, without waiting, while there were requests.
  virtual void note_look() noexcept {}
  /// The calling thread returns at its timeout although there are requests.
  virtual void note_departure() noexcept {}

  /// @return whether this thread may now wait().
  [[nodiscard]] bool begin_wait() noexcept { return !waiting_.exchange(true, base::memory_order_seq_cst); }
  void end_wait() noexcept { waiting_.store(false, base::memory_order_seq_cst); }
  [[nodiscard]] bool waiting() const noexcept { return whole_->waiting_.load(base::memory_order_seq_cst); }

 protected:
  /// A thread that waits for `whole` also waits for this engine.
  void become_part_of(const engine& whole) noexcept { whole_ = &whole; }

 private:
  base::atomic<bool> waiting_{false};
  const engine* whole_ = this;
};

}  // namespace doorbell::aio
