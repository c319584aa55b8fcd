// SPDX-License-Identifier: Apache-2.0
//
// engine_failover: io_uring for a context, and threads from the moment on at which its ring stops working (see
// engine_uring). No request is started twice: the kernel carries out the requests that it has taken, and their
// completions are in the memory of the ring; only requests that the kernel has never seen are started by threads.
//
//   submitter A                          submitter B                       sleeper in the ring
//   ring's start(): EBADF                ring's start(): nothing started   sleeps for at most a second
//   stand_in(): lock; makes threads      stand_in(): lock; finds threads
//   threads' start()                     threads' start()                  wakes; has threads; sleeps there
//
//   legal:     each request is started once, by the ring or by threads.
//   forbidden: a request started by both. The ring never reports a request as not started that the kernel may have taken.
//
// While the ring still has requests, a sleeper at the threads looks into the ring every millisecond, because nothing tells
// it of completions in there.
//
// Thread safety: as of engine. Lock: a leaf.
#pragma once

#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

#include "engine.hpp"
#include "engine_threads.hpp"
#include "engine_uring.hpp"

namespace doorbell::aio {

class engine_failover final : public engine {
 public:
  explicit engine_failover(std::unique_ptr<engine_uring> ring) noexcept : ring_{std::move(ring)} {}

  /// The name of the engine that new requests are started by.
  [[nodiscard]] std::string_view name() const noexcept override;
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] bool takes_many_by_one_call() const noexcept override { return threads() == nullptr; }
  [[nodiscard]] cancel_result cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override;
  [[nodiscard]] unsigned replacements() const noexcept override { return threads() == nullptr ? 0 : 1; }
  [[nodiscard]] bool must_be_looked_at() const noexcept override { return !ring_->works() && ring_->has_requests(); }
  void give_up() noexcept override { ring_->give_up(); }

 private:
  // Acquire pairs with the release in stand_in().
  [[nodiscard]] engine_threads* threads() const noexcept { return threads_.load(base::memory_order_acquire); }
  [[nodiscard]] engine_threads* stand_in() noexcept;

  const std::unique_ptr<engine_uring> ring_;
  base::mutex lock_;
  std::unique_ptr<engine_threads> made_ DOORBELL_GUARDED_BY(lock_);
  base::atomic<engine_threads*> threads_{nullptr};
};

}  // namespace doorbell::aio
