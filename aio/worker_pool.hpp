// SPDX-License-Identifier: Apache-2.0
//
// worker_pool: the threads that sleep in file I/O so that the program's threads need not. Requests wait in lanes, one for
// each context; workers take one request from one lane after the other, so that no context waits for all the requests of
// another.
//
// A worker is added when more requests wait than workers are idle, up to the usual number of workers. Beyond that number,
// workers are added while requests wait although every worker is busy for a long time: with a file on a server that does
// not answer, or with many requests for a slow disk. A worker ends when it has had nothing to do for a while. Workers are
// detached. The process's pool is never destroyed; any other waits for its workers to end.
//
// Thread safety: all members, concurrently. Lock: a leaf; requests are carried out without it.
#pragma once

#include <boost/intrusive/list.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

#include "request.hpp"

namespace doorbell::aio {

class worker_pool {
 public:
  struct limits {
    unsigned most_workers;                          // while all workers are busy for long
    std::chrono::steady_clock::duration idle_time;  // after which a worker ends
    unsigned usual_workers = most_workers;          // while requests are carried out quickly
    unsigned least_workers = 0;                     // that stay without work
  };

  /// Requests of one context that no worker has taken yet. Lives as long as there is any.
  class lane {
   public:
    lane() = default;
    lane(const lane&) = delete;
    lane& operator=(const lane&) = delete;

    /// Called by a worker that has taken the request: all that may sleep.
    virtual void carry_out(request& taken) noexcept = 0;

    /// Called after it, by the same worker, which counts as idle already: whoever hears of the end here and pushes the next
    /// request does not start another worker for it. Once the request is complete, the lane may be gone.
    virtual void conclude(request& carried_out) noexcept = 0;

   protected:
    ~lane() = default;

   private:
    friend class worker_pool;

    // Guarded by the pool's lock_.
    boost::intrusive::list_member_hook<> turn_;
    request_queue waiting_;
  };

  enum class pushed {
    queued,
    was_cancelled,  ///< meanwhile; the caller holds it still
    no_worker,      ///< there is none and none can be started; the caller holds it still
  };

  explicit worker_pool(limits within) noexcept : limits_{within} {}
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;
  /// No request is left. Waits for the workers.
  virtual ~worker_pool();

  /// Puts a request that the caller holds at the end of a lane, and lets go of it.
  [[nodiscard]] pushed push(lane& where, request& held) noexcept;

  /// Takes a request that the caller holds off its lane, if it lies there.
  void remove(lane& where, request& held) noexcept;

  /// Adds workers if a request that waited at the last call still waits. To be called every few milliseconds while it
  /// returns true.
  /// @return false if no request waits.
  [[nodiscard]] bool grow_if_stalled() noexcept;

  /// Whether no request waits and no worker is busy.
  [[nodiscard]] bool is_idle() noexcept;
  /// Lets the workers end when no request waits any more.
  void end() noexcept;

  /// How many there are, for tests and statistics: stale as soon as it is read.
  [[nodiscard]] unsigned workers() noexcept;

 protected:
  /// Starts a thread that calls work(), or arranges that another thread starts it. The lock is held.
  /// Errors: those of pthread_create(3).
  [[nodiscard]] virtual std::error_code start_worker() noexcept;
  /// Arranges that grow_if_stalled() is called. The lock is held.
  virtual void expect_stall() noexcept {}

  /// The body of a worker's thread. The pool has counted it already.
  void work() noexcept;
  /// Counts a worker that is about to be started, or that could not be.
  void count_worker() noexcept;
  void discount_worker() noexcept;

 private:
  struct job {
    lane* from = nullptr;
    request* taken = nullptr;
  };
  using lane_list =
      boost::intrusive::list<lane,
                             boost::intrusive::member_hook<lane, boost::intrusive::list_member_hook<>, &lane::turn_>,
                             boost::intrusive::constant_time_size<false>>;

  [[nodiscard]] job next_job() noexcept;
  [[nodiscard]] job take_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool sleep_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool grow_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void drop_locked(lane& where, request& queued) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  const limits limits_;

  base::mutex lock_;
  base::condition_variable work_;               // there are requests, or the pool ends
  base::condition_variable nobody_;             // the last worker ends
  lane_list lanes_ DOORBELL_GUARDED_BY(lock_);  // those with requests, in the order of their turns
  std::size_t queued_ DOORBELL_GUARDED_BY(lock_) = 0;
  std::uint64_t pushed_ DOORBELL_GUARDED_BY(lock_) = 0;         // requests, since the pool exists
  std::uint64_t pushed_before_ DOORBELL_GUARDED_BY(lock_) = 0;  // at the last call of grow_if_stalled()
  unsigned workers_ DOORBELL_GUARDED_BY(lock_) = 0;
  base::atomic<unsigned> busy_{0};  // counted up under lock_, down without: a guess, which is all that growing needs
  bool ending_ DOORBELL_GUARDED_BY(lock_) = false;
};

}  // namespace doorbell::aio
