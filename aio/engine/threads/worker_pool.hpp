// SPDX-License-Identifier: Apache-2.0
//
// worker_pool: the threads that sleep in file I/O so that the program's threads need not. Requests wait in queues, one
// per_context_queue for each context. Workers take one request from each queue in turn, so that no context waits for
// all the requests of another.
//
// A worker is added when more requests wait than workers are idle, up to the usual number of workers. Beyond that
// number, workers are added when requests wait and all workers have been busy for a long time: with a file on a server
// that does not answer, or with many requests for a slow disk. A worker ends when it has been idle for a while. Workers
// are detached; the destructor of a pool waits until they have ended.
//
// Thread safety: all members may be called concurrently. No other lock is acquired while the pool's lock is held;
// requests are carried out without it.
#pragma once

#include <boost/intrusive/list.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

#include "../../request/request.hpp"

namespace doorbell::aio {

class worker_pool {
 public:
  struct limits {
    unsigned most_workers;                          // while all workers are busy for a long time
    std::chrono::steady_clock::duration idle_time;  // after which a worker ends
    unsigned usual_workers = most_workers;          // while requests are carried out quickly
    unsigned least_workers = 0;                     // workers that stay when they are idle
  };

  /// Requests of one context that no worker has taken yet. Must exist while it has any.
  class per_context_queue {
   public:
    per_context_queue() = default;
    per_context_queue(const per_context_queue&) = delete;
    per_context_queue& operator=(const per_context_queue&) = delete;

    /// Called by a worker that has taken the request: does all work that may sleep.
    virtual void carry_out(request& taken) noexcept = 0;

    /// Called after carry_out() by the same worker, which counts as idle already: a thread that learns of the
    /// completion here and pushes the next request does not start another worker for it. Once the request is complete,
    /// the queue may be gone.
    virtual void conclude(request& carried_out) noexcept = 0;

   protected:
    ~per_context_queue() = default;

   private:
    friend class worker_pool;

    // Guarded by the pool's lock_.
    boost::intrusive::list_member_hook<> turn_;
    request_queue waiting_;
  };

  enum class pushed {
    queued,
    was_cancelled,  ///< cancelled meanwhile; the caller still holds it
    no_worker,      ///< there is none and none can be started; the caller still holds it
  };

  explicit worker_pool(limits within) noexcept : limits_{within} {}
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;
  /// No request is left. Waits for the workers to end.
  virtual ~worker_pool();

  /// Puts a request that the caller holds at the end of a queue. On success the caller no longer holds it.
  [[nodiscard]] pushed push(per_context_queue& where, request& held) noexcept;

  /// Removes a request that the caller holds from its queue, if it is there.
  void remove(per_context_queue& where, request& held) noexcept;

  /// Adds workers if a request that waited at the last call still waits. While it returns true, the owner calls it
  /// again after about 50 ms (stall_time_ms in io_threads.cpp).
  /// @return false if no request waits.
  [[nodiscard]] bool grow_if_stalled() noexcept;

  /// Whether no request waits and no worker is busy.
  [[nodiscard]] bool is_idle() noexcept;
  /// Lets the workers end once no request waits.
  void end() noexcept;

  /// The number of workers, for tests and statistics: stale as soon as it is read.
  [[nodiscard]] unsigned workers() noexcept;

 protected:
  /// Starts a thread that calls work(), or arranges that another thread starts it. Called with the lock held.
  /// Errors: those of pthread_create(3).
  [[nodiscard]] virtual std::error_code start_worker() noexcept;
  /// Arranges that grow_if_stalled() is called. Called with the lock held.
  virtual void expect_stall() noexcept {}

  /// The body of a worker's thread. The pool has counted it already.
  void work() noexcept;
  /// Counts a worker that is about to be started; discount_worker() reverts that if it could not be started.
  void count_worker() noexcept;
  void discount_worker() noexcept;

 private:
  struct job {
    per_context_queue* from = nullptr;
    request* taken = nullptr;
  };
  using queue_list = boost::intrusive::list<
      per_context_queue,
      boost::intrusive::member_hook<per_context_queue, boost::intrusive::list_member_hook<>, &per_context_queue::turn_>,
      boost::intrusive::constant_time_size<false>>;

  [[nodiscard]] job next_job() noexcept;
  [[nodiscard]] job take_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool sleep_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool grow_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void drop_locked(per_context_queue& where, request& queued) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  const limits limits_;

  base::mutex lock_;
  base::condition_variable work_;                 // there are requests, or the pool ends
  base::condition_variable nobody_;               // the last worker has ended
  queue_list queues_ DOORBELL_GUARDED_BY(lock_);  // the queues with requests, in the order of their turns
  std::size_t queued_ DOORBELL_GUARDED_BY(lock_) = 0;
  std::uint64_t pushed_ DOORBELL_GUARDED_BY(lock_) = 0;         // requests since the pool was made
  std::uint64_t pushed_before_ DOORBELL_GUARDED_BY(lock_) = 0;  // at the last call of grow_if_stalled()
  unsigned workers_ DOORBELL_GUARDED_BY(lock_) = 0;
  base::atomic<unsigned> busy_{0};  // incremented under lock_, decremented without it: an estimate
  bool ending_ DOORBELL_GUARDED_BY(lock_) = false;
};

}  // namespace doorbell::aio
