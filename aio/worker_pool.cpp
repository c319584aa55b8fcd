// SPDX-License-Identifier: Apache-2.0
#include "worker_pool.hpp"

#include "background_thread.hpp"

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

worker_pool::pushed worker_pool::push(lane& where, request& held) noexcept {
  const base::mutex_lock locked{lock_};
  if (!grow_locked()) return pushed::no_worker;
  where.waiting_.push_back(held);
  if (!where.turn_.is_linked()) lanes_.push_back(where);
  ++queued_;
  held.by_threads.put_back();
  if (held.cancelled.load(base::memory_order_seq_cst) && held.by_threads.take()) {
    drop_locked(where, held);
    return pushed::was_cancelled;
  }
  work_.notify_one();
  return pushed::queued;
}

// For one request more than lie there. A worker counts as idle from when it is started until it has taken something, just
// as long as requests lie there. That the system gives no more threads is no harm while there is one.
bool worker_pool::grow_locked() noexcept {
  const auto idle = workers_ - busy_.load(base::memory_order_relaxed);
  if (queued_ < idle || workers_ == limits_.most_workers) return true;
  const auto body = [](void* self) noexcept { static_cast<worker_pool*>(self)->work(); };
  if (start_background_thread("doorbell-worker", body, this)) return workers_ > 0;
  ++workers_;
  return true;
}

void worker_pool::remove(lane& where, request& held) noexcept {
  const base::mutex_lock locked{lock_};
  if (held.place.is_linked()) drop_locked(where, held);
}

void worker_pool::drop_locked(lane& where, request& queued) noexcept {
  where.waiting_.erase(where.waiting_.iterator_to(queued));
  --queued_;
  if (where.waiting_.empty()) lanes_.erase(lanes_.iterator_to(where));
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

// The first of the lane whose turn it is; then it is the next lane's turn. What a cancel has taken is left to it.
worker_pool::job worker_pool::take_locked() noexcept {
  while (!lanes_.empty()) {
    auto& from = lanes_.front();
    auto& first = from.waiting_.front();
    drop_locked(from, first);
    if (from.turn_.is_linked()) lanes_.splice(lanes_.end(), lanes_, lanes_.begin());
    if (!first.by_threads.take()) continue;
    busy_.fetch_add(1, base::memory_order_relaxed);
    return {&from, &first};
  }
  return {};
}

// @return false when nothing has come for so long that the worker may go.
bool worker_pool::sleep_locked() noexcept {
  const auto until = std::chrono::steady_clock::now() + limits_.idle_time;
  while (lanes_.empty() && !ending_)
    if (!work_.wait_until(lock_, until)) break;
  return !lanes_.empty();
}

}  // namespace doorbell::aio
