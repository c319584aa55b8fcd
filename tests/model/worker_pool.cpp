// SPDX-License-Identifier: Apache-2.0
//
// The worker pool: it grows and shrinks, and exactly one thread ends each request. The timeout of an idle worker may
// expire at any moment.
#include "engine/threads/worker_pool.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <system_error>
#include <thread>

#include <doorbell/base/mutex.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using aio::request;
using aio::worker_pool;

constexpr std::chrono::seconds idle_time{5};
constexpr worker_pool::limits one_that_stays{.most_workers = 1, .idle_time = idle_time, .least_workers = 1};
constexpr worker_pool::limits one_that_leaves{.most_workers = 1, .idle_time = idle_time};
constexpr worker_pool::limits two_that_leave{.most_workers = 2, .idle_time = idle_time};
constexpr worker_pool::limits two_if_stalled{.most_workers = 2, .idle_time = idle_time, .usual_workers = 1};

/// Counts executed requests in plain variables: two workers with the same request would be a data race.
class plain_queue : public worker_pool::per_context_queue {
 public:
  virtual ~plain_queue() = default;
  request& operator[](std::size_t which) noexcept { return requests_[which]; }
  [[nodiscard]] unsigned carried_out(std::size_t which) const noexcept { return carried_out_[which]; }
  [[nodiscard]] unsigned concluded(std::size_t which) const noexcept { return concluded_[which]; }

  void carry_out(request& taken) noexcept override { ++carried_out_[number_of(taken)]; }
  void conclude(request& done) noexcept override { ++concluded_[number_of(done)]; }

 protected:
  [[nodiscard]] std::size_t number_of(const request& one) const noexcept {
    return static_cast<std::size_t>(&one - requests_.data());
  }

 private:
  std::array<request, 2> requests_{request{aio::iocb_abi{}, nullptr}, request{aio::iocb_abi{}, nullptr}};
  std::array<unsigned, 2> carried_out_{};
  std::array<unsigned, 2> concluded_{};
};

/// A queue whose first request ends only when its second request is carried out.
class dependent_queue final : public plain_queue {
 public:
  void carry_out(request& taken) noexcept override {
    plain_queue::carry_out(taken);
    const base::mutex_lock held{lock_};
    if (number_of(taken) == 1) {
      is_open_ = true;
      opened_.notify_all();
    }
    while (!is_open_) opened_.wait(lock_);
  }

 private:
  base::mutex lock_;
  base::condition_variable opened_;
  bool is_open_ DOORBELL_GUARDED_BY(lock_) = false;
};

/// A pool that can start only one thread.
class pool_without_threads final : public worker_pool {
 public:
  using worker_pool::worker_pool;

 private:
  std::error_code start_worker() noexcept override {
    if (has_started_) return std::make_error_code(std::errc::resource_unavailable_try_again);
    has_started_ = true;
    return worker_pool::start_worker();
  }

  bool has_started_ = false;  // guarded by the pool's lock
};

/// A pool with a thread that checks for stalls after the pool has requested it.
class watched_pool final : public worker_pool {
 public:
  using worker_pool::worker_pool;

  /// The body of that thread. Between two checks, the workers continue as far as they can.
  void look_for_stalls() noexcept {
    {
      const base::mutex_lock held{lock_};
      while (!is_asked_) asked_.wait(lock_);
    }
    while (grow_if_stalled()) std::this_thread::yield();
  }

 private:
  void expect_stall() noexcept override {
    const base::mutex_lock held{lock_};
    is_asked_ = true;
    asked_.notify_one();
  }

  base::mutex lock_;
  base::condition_variable asked_;
  bool is_asked_ DOORBELL_GUARDED_BY(lock_) = false;
};

void push(worker_pool& pool, plain_queue& queue, std::size_t which) {
  REQUIRE(pool.push(queue, queue[which]) == worker_pool::pushed::queued);
}

}  // namespace

// Legal: the worker takes the request although its idle timeout has expired, or it has left and the push starts another
// worker.
// Forbidden: the worker leaves while a request is in the queue, or the push relies on a worker that has left.
SCENARIO(pool_push_as_the_last_worker_leaves, 3,
         "a request that is pushed as the last worker's timeout expires is carried out, by that worker or by another") {
  plain_queue queue;
  worker_pool pool{one_that_leaves};
  together({{"submitter", [&] {
               push(pool, queue, 0);
               push(pool, queue, 1);
             }}});
  let_background_rest();
  REQUIRE(pool.is_idle());
  REQUIRE(queue.concluded(0) == 1 && queue.concluded(1) == 1);
}

// Legal: each push starts a worker, or relies on an idle worker if there are more idle workers than queued requests.
// Forbidden: two pushes rely on the same worker.
SCENARIO(pool_two_pushes, 3,
         "of two requests that are pushed concurrently, neither waits for the other while a worker may be started") {
  dependent_queue queue;
  worker_pool pool{two_that_leave};
  together({{"submitter", [&] { push(pool, queue, 0); }}, {"other submitter", [&] { push(pool, queue, 1); }}});
  let_background_rest();
  REQUIRE(pool.is_idle());
  REQUIRE(queue.concluded(0) == 1 && queue.concluded(1) == 1);
}

// Legal: the checking thread finds the second request waiting in two consecutive checks, and starts a worker for it.
// Forbidden: the request waits forever, because no check was requested, or the checks end while the request waits.
SCENARIO(pool_stalled, 2,
         "a request does not wait forever for a blocked worker: the pool grows beyond its usual size") {
  dependent_queue queue;
  watched_pool pool{two_if_stalled};
  together({{"submitter",
             [&] {
               push(pool, queue, 0);
               push(pool, queue, 1);
             }},
            {"poller", [&] { pool.look_for_stalls(); }}});
  let_background_rest();
  REQUIRE(pool.is_idle());
  REQUIRE(queue.concluded(0) == 1 && queue.concluded(1) == 1);
}

// Legal: the canceller takes the request, before or after it is queued, or the worker takes it.
// Forbidden: both take it, or neither does; a worker accesses a request that the canceller has taken and ended.
SCENARIO(pool_cancel, 3, "a request that is cancelled as it is pushed and carried out is ended by one thread, once") {
  plain_queue queue;
  worker_pool pool{one_that_stays};
  auto& asked = queue[0];
  bool by_submitter = false;
  bool by_canceller = false;
  together({{"submitter", [&] { by_submitter = pool.push(queue, asked) == worker_pool::pushed::was_cancelled; }},
            {"canceller", [&] {
               asked.cancelled.store(true, base::memory_order_seq_cst);
               by_canceller = asked.by_threads.take();
               if (by_canceller) pool.remove(queue, asked);
             }}});
  let_background_rest();
  REQUIRE(pool.is_idle());
  REQUIRE(queue.concluded(0) + (by_submitter ? 1U : 0U) + (by_canceller ? 1U : 0U) == 1);
}
AND_WEAK(pool_cancel, 2, 2);

// Legal: the worker takes the second request, or it has left and push returns no_worker.
// Forbidden: the request is queued, and no worker is left.
SCENARIO(pool_without_more_threads, 3,
         "a request for which no worker can be started is carried out by the last worker, or refused after its end") {
  plain_queue queue;
  pool_without_threads pool{two_that_leave};
  bool is_refused = false;
  together({{"submitter", [&] {
               push(pool, queue, 0);
               is_refused = pool.push(queue, queue[1]) == worker_pool::pushed::no_worker;
             }}});
  let_background_rest();
  REQUIRE(pool.is_idle());
  REQUIRE(queue.concluded(0) == 1 && queue.concluded(1) == (is_refused ? 0U : 1U));
}

}  // namespace doorbell::model
