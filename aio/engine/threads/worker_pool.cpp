// SPDX-License-Identifier: Apache-2.0
#include "worker_pool.hpp"

#include <algorithm>

#include <doorbell/base/background_thread.hpp>

namespace doorbell::aio {

worker_pool::~worker_pool() {
  const base::mutex_lock held{lock_};
  ending_ = true;
  work_.notify_all();
  while (workers_ > 0) nobody_.wait(lock_);
}

unsigned worker_pool::workers() noexcept {
  const base::mutex_lock held{lock_};
  return workers_;
}

worker_pool::pushed worker_pool::push(per_context_queue& where, request& held) noexcept {
  const base::mutex_lock locked{lock_};
  if (!grow_locked()) return pushed::no_worker;
  where.waiting_.push_back(held);
  if (!where.turn_.is_linked()) queues_.push_back(where);
  ++queued_;
  ++pushed_;
  held.by_threads.put_back();
  if (held.cancelled.load(base::memory_order_seq_cst) && held.by_threads.take()) {
    drop_locked(where, held);
    return pushed::was_cancelled;
  }
  work_.notify_one();
  return pushed::queued;
}

// Makes sure that there is a worker for one more request. A worker counts as idle from its start until it has taken a
// request. If no thread can be started, an existing worker takes the request.
bool worker_pool::grow_locked() noexcept {
  const auto idle = workers_ - busy_.load(base::memory_order_relaxed);
  if (queued_ < idle) return true;
  if (workers_ >= limits_.usual_workers) {
    if (workers_ < limits_.most_workers) expect_stall();
    return true;
  }
  if (start_worker()) return workers_ > 0;
  ++workers_;
  return true;
}

// The pool has stalled if a request that had been pushed before the last call of this function has not been taken
// since. Then the pool was too small for the whole time between the two calls.
bool worker_pool::grow_if_stalled() noexcept {
  const base::mutex_lock held{lock_};
  if (queued_ == 0) return false;
  const auto taken = pushed_ - queued_;
  const bool is_stalled = taken < pushed_before_;
  pushed_before_ = pushed_;
  if (!is_stalled) return true;
  const auto wanted = std::min({queued_, std::size_t{workers_}, std::size_t{limits_.most_workers - workers_}});
  for (std::size_t added = 0; added < wanted && !start_worker(); ++added) ++workers_;
  return true;
}

std::error_code worker_pool::start_worker() noexcept {
  const auto body = [](void* self) noexcept { static_cast<worker_pool*>(self)->work(); };
  return base::start_background_thread("doorbell-worker", body, this);
}

void worker_pool::count_worker() noexcept {
  const base::mutex_lock held{lock_};
  ++workers_;
}

void worker_pool::discount_worker() noexcept {
  const base::mutex_lock held{lock_};
  if (--workers_ == 0) nobody_.notify_all();
}

bool worker_pool::is_idle() noexcept {
  const base::mutex_lock held{lock_};
  return queued_ == 0 && busy_.load(base::memory_order_relaxed) == 0;
}

void worker_pool::end() noexcept {
  const base::mutex_lock held{lock_};
  ending_ = true;
  work_.notify_all();
}

void worker_pool::remove(per_context_queue& where, request& held) noexcept {
  const base::mutex_lock locked{lock_};
  if (held.place.is_linked()) drop_locked(where, held);
}

void worker_pool::drop_locked(per_context_queue& where, request& queued) noexcept {
  where.waiting_.erase(where.waiting_.iterator_to(queued));
  --queued_;
  if (where.waiting_.empty()) queues_.erase(queues_.iterator_to(where));
}

void worker_pool::work() noexcept {
  for (auto now = next_job(); now.taken != nullptr; now = next_job()) {
    now.from->carry_out(*now.taken);
    busy_.fetch_sub(1, base::memory_order_relaxed);
    now.from->conclude(*now.taken);
  }
}

worker_pool::job worker_pool::next_job() noexcept {
  const base::mutex_lock held{lock_};
  for (;;) {
    const auto next = take_locked();
    if (next.taken != nullptr) return next;
    if (!sleep_locked()) break;
  }
  if (--workers_ == 0) nobody_.notify_all();
  return {};
}

// Takes the first request of the front queue, and moves the queue to the end. Skips requests that a cancel has taken.
worker_pool::job worker_pool::take_locked() noexcept {
  while (!queues_.empty()) {
    auto& from = queues_.front();
    auto& first = from.waiting_.front();
    drop_locked(from, first);
    if (from.turn_.is_linked()) queues_.splice(queues_.end(), queues_, queues_.begin());
    if (!first.by_threads.take()) continue;
    busy_.fetch_add(1, base::memory_order_relaxed);
    return {&from, &first};
  }
  return {};
}

// @return false if the worker has been idle for so long that it may end.
bool worker_pool::sleep_locked() noexcept {
  while (queues_.empty() && !ending_) {
    if (workers_ <= limits_.least_workers)
      work_.wait(lock_);
    else if (!work_.wait_until(lock_, std::chrono::steady_clock::now() + limits_.idle_time) &&
             workers_ > limits_.least_workers)
      break;
  }
  return !queues_.empty();
}

}  // namespace doorbell::aio
