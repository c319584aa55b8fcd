// SPDX-License-Identifier: Apache-2.0
//
// engine: what carries requests out, for one context.
//
// Thread safety: start, cancel, reap and wake may be called at once. One thread at a time may sleep in wait(), between
// begin_wait() and end_wait(); the others need not know of it, but:
//
//   sleeper                              somebody with news that is not a completion (events published, context dead)
//   begin_wait(): waiting_ = true        news
//   looks for news                       waiting()?  -> wake()
//   wait()
//
//   legal:     the sleeper finds the news, or the other finds it waiting and wakes it.
//   forbidden: neither. All four are seq_cst, so one of the two looks comes second.
//
// A wake must not be eaten by another thread's reap() while the sleeper still waits; see the engine.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>

#include "request.hpp"

namespace doorbell::aio {

class engine {
 public:
  enum class wait_result { ready, timed_out, interrupted };

  engine() = default;
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  virtual ~engine() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;

  /// Starts requests, in order; from then on their completions may be reaped, by any thread.
  /// @return how many; the others are the caller's, as before.
  [[nodiscard]] virtual std::size_t start(std::span<request* const> requests) noexcept = 0;

  /// Whether start() of many costs hardly more than of one: a system call for all of them.
  [[nodiscard]] virtual bool takes_many_by_one_call() const noexcept { return false; }

  /// The answer of cancel().
  enum class cancel_result {
    asked,      ///< the request's completion comes, cancelled or not
    try_again,  ///< there is no memory now, or some completions must be reaped first
    impossible  ///< the engine has lost the means to cancel this request; it completes when it has been carried out
  };

  /// Asks for the end of a request. Its completion comes in any case. The caller holds a reference to it.
  [[nodiscard]] virtual cancel_result cancel(request& started) noexcept = 0;

  /// Gives up requests that cancel() cannot end. Only destroy() calls this, after it has waited for the requests that
  /// complete by themselves; no other thread uses the engine any more. Afterwards reap() gives no completions.
  virtual void give_up() noexcept {}

  /// Fetches completions, without waiting. Each is given out once.
  /// @return how many; 0 when there are none now.
  [[nodiscard]] virtual std::size_t reap(std::span<completion> completions) noexcept = 0;

  /// Tells, without a lock, how far requests are that end by themselves and have not been reaped.
  struct file_io {
    std::uint64_t carried_out = 0;  ///< how many are carried out
    bool must_be_reaped = false;    ///< reap() may give some that are not carried out and must be started again, or
                                    ///< makes room for completions that are not counted
  };
  /// May be called in a signal handler that has interrupted another member, and concurrently with all members except
  /// give_up() and the destructor.
  [[nodiscard]] virtual file_io file_io_done() const noexcept = 0;

  /// Whether reap() would give completions of requests that start() itself has completed. Others may be meant, too.
  [[nodiscard]] virtual bool has_finished_some() const noexcept { return false; }

  /// Sleeps until there may be something to reap, somebody calls wake(), a signal handler has run, or `until`.
  virtual wait_result wait(base::deadline until) noexcept = 0;
  virtual void wake() noexcept = 0;

  /// In a fork's child: closes the descriptors it has inherited. Nothing else is called any more.
  virtual void abandon_in_child() noexcept = 0;

  /// A descriptor for the program's loop: readable while there is something to reap; each completion is an edge.
  /// @return -1 when none can be had.
  [[nodiscard]] virtual int descriptor() const noexcept = 0;
  /// The same for the library's own threads, which can wait for two: each completion is an edge of one of them.
  /// @return -1 in the place of one that there is not; if there is only one, it is the first.
  // equivalent fault (constant): each negative number is no descriptor
  [[nodiscard]] virtual std::array<int, 2> descriptors() const noexcept { return {descriptor(), -1}; }
  /// No thread waits for these any more, until they are asked for again.
  virtual void ignore_descriptors() noexcept {}
  /// How often descriptor() or descriptors() have become others.
  // equivalent fault (constant): only a change counts
  [[nodiscard]] virtual unsigned replacements() const noexcept { return 0; }
  /// Whether neither the descriptors nor wait() announce some completions, so that a thread must call reap() regularly.
  [[nodiscard]] virtual bool must_be_looked_at() const noexcept { return false; }

  /// The calling thread is about to sleep for events of the context.
  virtual void note_sleep() noexcept {}
  /// It has come for events, and all requests had been completed.
  virtual void note_late() noexcept {}
  /// It has looked for events without waiting, and there had been requests.
  virtual void note_look() noexcept {}
  /// Its time is up, and it leaves although there are requests.
  virtual void note_departure() noexcept {}

  /// @return whether this thread may now wait().
  [[nodiscard]] bool begin_wait() noexcept { return !waiting_.exchange(true, base::memory_order_seq_cst); }
  void end_wait() noexcept { waiting_.store(false, base::memory_order_seq_cst); }
  [[nodiscard]] bool waiting() const noexcept { return whole_->waiting_.load(base::memory_order_seq_cst); }

 protected:
  /// A thread that waits for `whole` waits for this engine, too.
  void become_part_of(const engine& whole) noexcept { whole_ = &whole; }

 private:
  base::atomic<bool> waiting_{false};
  const engine* whole_ = this;
};

}  // namespace doorbell::aio
