// SPDX-License-Identifier: Apache-2.0
//
// The workers of the pool: their number, and the order in which they take requests.
#include "../../aio/engine/threads/worker_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <latch>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/refused_calls.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using doorbell::aio::request;
using doorbell::aio::worker_pool;

constexpr worker_pool::limits two_that_stay{.most_workers = 2, .idle_time = 1h};

/// Makes requests, and owns them.
class requests {
 public:
  request& make() { return made_.emplace_back(doorbell::aio::iocb_abi{}, nullptr); }

 private:
  std::deque<request> made_;
};

/// Its requests block their workers until the gate is opened.
class gate final : public worker_pool::per_context_queue {
 public:
  void carry_out(request&) noexcept override {
    ++inside_;
    open_.wait();
  }
  void conclude(request&) noexcept override { ++passed_; }
  [[nodiscard]] int inside() const { return inside_; }
  [[nodiscard]] int passed() const { return passed_; }
  void open() { open_.count_down(); }

 private:
  std::atomic<int> inside_{0};
  std::atomic<int> passed_{0};
  std::latch open_{1};
};

/// Appends its name to the text for each request.
class scribe final : public worker_pool::per_context_queue {
 public:
  scribe(std::string& paper, char name) : paper_{paper}, name_{name} {}
  void carry_out(request&) noexcept override {
    const std::lock_guard held{one_at_a_time_};
    paper_ += name_;
  }
  void conclude(request&) noexcept override {
    const std::lock_guard held{one_at_a_time_};
    length_ = paper_.size();
  }
  [[nodiscard]] std::size_t length() const { return length_; }

 private:
  static inline std::mutex one_at_a_time_;

  std::string& paper_;
  const char name_;
  std::atomic<std::size_t> length_{0};
};

TEST(worker_pool, has_no_worker_before_there_is_work) {
  worker_pool pool{two_that_stay};
  EXPECT_EQ(pool.workers(), 0U);
}

TEST(worker_pool, grows_to_its_bound_and_shrinks_to_nothing) {
  requests all;
  gate closed;
  worker_pool pool{{.most_workers = 3, .idle_time = 1ms}};
  for (int n = 0; n < 8; ++n) ASSERT_EQ(pool.push(closed, all.make()), worker_pool::pushed::queued);
  EXPECT_TRUE(doorbell::test::eventually([&] { return closed.inside() == 3; }));
  EXPECT_EQ(pool.workers(), 3U);
  closed.open();
  EXPECT_TRUE(doorbell::test::eventually([&] { return closed.passed() == 8; }));
  EXPECT_TRUE(doorbell::test::eventually([&] { return pool.workers() == 0; }));
}

// Oracle: a thread that has seen the completion of a request finds its worker idle, so the next request needs no other
// worker.
TEST(worker_pool, does_not_grow_while_a_worker_is_idle) {
  requests all;
  std::string paper;
  scribe queue{paper, 'x'};
  worker_pool pool{two_that_stay};
  for (std::size_t n = 1; n <= 200; ++n) {
    ASSERT_EQ(pool.push(queue, all.make()), worker_pool::pushed::queued);
    ASSERT_TRUE(doorbell::test::eventually([&] { return queue.length() == n; }));
    ASSERT_EQ(pool.workers(), 1U);
  }
}

TEST(worker_pool, takes_one_request_from_each_queue_in_turn) {
  requests all;
  std::string paper;
  scribe many{paper, 'm'};
  scribe few{paper, 'f'};
  gate closed;
  worker_pool pool{{.most_workers = 1, .idle_time = 1h}};
  std::ignore = pool.push(closed, all.make());
  ASSERT_TRUE(doorbell::test::eventually([&] { return closed.inside() == 1; }));
  for (int n = 0; n < 5; ++n) std::ignore = pool.push(many, all.make());
  for (int n = 0; n < 2; ++n) std::ignore = pool.push(few, all.make());
  closed.open();
  EXPECT_TRUE(doorbell::test::eventually([&] { return std::max(many.length(), few.length()) == 7; }));
  EXPECT_EQ(paper, "mfmfmmm");
}

TEST(worker_pool, does_not_carry_out_a_request_that_was_taken_and_removed) {
  requests all;
  std::string paper;
  scribe queue{paper, 'x'};
  gate closed;
  {
    worker_pool pool{{.most_workers = 1, .idle_time = 1h}};
    std::ignore = pool.push(closed, all.make());
    ASSERT_TRUE(doorbell::test::eventually([&] { return closed.inside() == 1; }));
    auto& waiting = all.make();
    std::ignore = pool.push(queue, waiting);
    ASSERT_TRUE(waiting.by_threads.take());
    pool.remove(queue, waiting);
    closed.open();
  }
  EXPECT_EQ(paper, "");
}

TEST(worker_pool, push_refuses_a_request_that_was_cancelled_before) {
  requests all;
  gate queue;
  worker_pool pool{two_that_stay};
  auto& cancelled = all.make();
  cancelled.cancelled = true;
  EXPECT_EQ(pool.push(queue, cancelled), worker_pool::pushed::was_cancelled);
  EXPECT_FALSE(cancelled.by_threads.take());
  queue.open();
}

// Oracle: exactly one of the two gets each request: the cancel or a worker.
TEST(worker_pool, a_request_is_either_carried_out_or_taken_back) {
  constexpr int rounds = 2000;
  std::atomic<int> carried_out{0};
  struct counter final : worker_pool::per_context_queue {
    explicit counter(std::atomic<int>& into) : total{into} {}
    void carry_out(request&) noexcept override {}
    void conclude(request&) noexcept override { ++total; }
    std::atomic<int>& total;
  } queue{carried_out};
  int taken_back = 0;
  requests all;
  {
    worker_pool pool{two_that_stay};
    for (int round = 0; round < rounds; ++round) {
      auto& one = all.make();
      ASSERT_EQ(pool.push(queue, one), worker_pool::pushed::queued);
      if (!one.by_threads.take()) continue;
      pool.remove(queue, one);
      ++taken_back;
    }
    EXPECT_TRUE(doorbell::test::eventually([&] { return carried_out + taken_back == rounds; }));
  }
  EXPECT_EQ(carried_out + taken_back, rounds);
}

// Oracle: while the usual workers are stuck, the requests behind them get other workers, up to the bound.
TEST(worker_pool, grows_beyond_the_usual_number_while_it_is_stalled) {
  requests all;
  gate closed;
  worker_pool pool{{.most_workers = 8, .idle_time = 1h, .usual_workers = 2}};
  for (int n = 0; n < 20; ++n) ASSERT_EQ(pool.push(closed, all.make()), worker_pool::pushed::queued);
  ASSERT_TRUE(doorbell::test::eventually([&] { return closed.inside() == 2; }));
  EXPECT_EQ(pool.workers(), 2U);
  EXPECT_TRUE(pool.grow_if_stalled());  // records the requests that wait now
  EXPECT_EQ(pool.workers(), 2U);
  for (const unsigned expected : {4U, 8U, 8U}) {
    EXPECT_TRUE(pool.grow_if_stalled());
    EXPECT_EQ(pool.workers(), expected);
  }
  EXPECT_TRUE(doorbell::test::eventually([&] { return closed.inside() == 8; }));
  closed.open();
  EXPECT_TRUE(doorbell::test::eventually([&] { return closed.passed() == 20; }));
  EXPECT_FALSE(pool.grow_if_stalled());
}

TEST(worker_pool, does_not_grow_while_workers_take_requests_in_time) {
  requests all;
  std::string paper;
  scribe queue{paper, 'x'};
  worker_pool pool{{.most_workers = 8, .idle_time = 1h, .usual_workers = 1}};
  for (std::size_t n = 1; n <= 100; ++n) {
    ASSERT_EQ(pool.push(queue, all.make()), worker_pool::pushed::queued);
    ASSERT_TRUE(doorbell::test::eventually([&] { return queue.length() == n; }));
    std::ignore = pool.grow_if_stalled();
  }
  EXPECT_EQ(pool.workers(), 1U);
}

/// Counts the workers that it starts.
class counting_pool final : public worker_pool {
 public:
  using worker_pool::worker_pool;
  [[nodiscard]] int started() const { return started_; }

 private:
  [[nodiscard]] std::error_code start_worker() noexcept override {
    ++started_;
    return worker_pool::start_worker();
  }

  std::atomic<int> started_{0};
};

// Oracle: one worker carries out all requests, although each is pushed after the time in which an idle worker ends.
TEST(worker_pool, keeps_the_least_number_of_workers) {
  requests all;
  std::string paper;
  scribe queue{paper, 'x'};
  counting_pool pool{{.most_workers = 3, .idle_time = 0ms, .least_workers = 1}};
  for (std::size_t n = 1; n <= 200; ++n) {
    ASSERT_EQ(pool.push(queue, all.make()), worker_pool::pushed::queued);
    ASSERT_TRUE(doorbell::test::eventually([&] { return queue.length() == n; }));
  }
  EXPECT_EQ(pool.started(), 1);
}

/// Counts workers that another thread would start.
class promising_pool final : public worker_pool {
 public:
  using worker_pool::count_worker;
  using worker_pool::discount_worker;
  using worker_pool::worker_pool;
};

// Oracle: the destructor of the pool waits for the counted worker, and returns when the worker is discounted because it
// cannot be started.
TEST(worker_pool, ends_when_its_only_worker_cannot_be_started) {
  const doorbell::test::watchdog dog;
  auto pool = std::make_unique<promising_pool>(two_that_stay);
  auto& counted = *pool;
  counted.count_worker();
  const doorbell::test::asleep ending{[&] { pool.reset(); }};
  EXPECT_TRUE(ending.still_asleep());
  counted.discount_worker();
}

TEST(worker_pool, push_fails_if_there_is_no_worker_and_none_can_be_started) {
  doorbell::test::in_child([] {
    doorbell::test::refuse(SYS_clone3, EAGAIN);
    requests all;
    gate queue;
    worker_pool pool{two_that_stay};
    EXPECT_EQ(pool.push(queue, all.make()), worker_pool::pushed::no_worker);
  });
}

TEST(worker_pool, push_succeeds_with_one_worker_if_no_more_can_be_started) {
  doorbell::test::in_child([] {
    requests all;
    gate closed;
    worker_pool pool{two_that_stay};
    EXPECT_EQ(pool.push(closed, all.make()), worker_pool::pushed::queued);
    doorbell::test::refuse(SYS_clone3, EAGAIN);
    EXPECT_EQ(pool.push(closed, all.make()), worker_pool::pushed::queued);
    EXPECT_EQ(pool.workers(), 1U);
    closed.open();
    EXPECT_TRUE(doorbell::test::eventually([&] { return closed.passed() == 2; }));
  });
}

}  // namespace
