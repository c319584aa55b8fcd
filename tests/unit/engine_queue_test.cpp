// SPDX-License-Identifier: Apache-2.0
//
// An engine whose queues are too small for the requests.
#include "../../aio/engine/choice/engine_failover.hpp"
#include "../../aio/engine/uring/engine_uring.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "failing_uring.hpp"
#include "support/files.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using namespace doorbell::aio;

class engine_queues : public testing::Test {
 protected:
  static std::unique_ptr<engine_uring> make(unsigned in_flight) {
    std::error_code ec;
    auto made = engine_uring::make(in_flight, ec);
    EXPECT_FALSE(ec) << ec.message();
    return made;
  }

  std::vector<std::unique_ptr<request>> make_reads(std::size_t count) {
    std::vector<std::unique_ptr<request>> made;
    for (std::size_t n = 0; n < count; ++n) made.push_back(std::make_unique<request>(read_, &read_));
    return made;
  }

  static std::vector<request*> pointers(const std::vector<std::unique_ptr<request>>& requests) {
    std::vector<request*> made;
    for (const auto& each : requests) made.push_back(each.get());
    return made;
  }

  /// Waits for `count` completions. @return the number of different requests that they are for.
  static std::size_t reap(engine& from, std::size_t count) {
    std::set<request*> seen;
    std::array<completion, 64> done;
    for (std::size_t reaped = 0; reaped < count;) {
      const auto some = from.reap(done);
      for (std::size_t n = 0; n < some; ++n) {
        EXPECT_EQ(done[n].res, 1);
        seen.insert(done[n].done);
      }
      reaped += some;
      if (some == 0) (void)from.wait({});
    }
    EXPECT_EQ(from.reap(done), 0U);
    return seen.size();
  }

  const doorbell::test::watchdog dog_;
  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("x");
  char byte_ = 0;
  const iocb read_ = prep_pread(file_.get(), &byte_, 1, 0);
};

// Oracle: all requests are started, and each completes once.
TEST_F(engine_queues, more_requests_than_the_submission_queue_holds_are_all_started_by_one_call) {
  const auto engine = make(4000);
  const auto reads = make_reads(3000);  // the queue has 1024
  ASSERT_EQ(engine->start(pointers(reads)), reads.size());
  EXPECT_EQ(reap(*engine, reads.size()), reads.size());
}

// Oracle: the kernel keeps the completions that do not fit; each request completes once.
TEST_F(engine_queues, more_completions_than_the_completion_queue_holds_are_all_reaped) {
  const auto engine = make(1);
  const auto reads = make_reads(500);  // the queue has 2
  ASSERT_EQ(engine->start(pointers(reads)), reads.size());
  EXPECT_EQ(reap(*engine, reads.size()), reads.size());
}

// Oracle: one start() starts all requests, with any number of system calls, and each completes once.
TEST_F(engine_queues, entries_that_the_kernel_takes_one_by_one_are_all_started) {
  const doorbell::test::injections injected;
  const auto engine = make(200);
  const auto reads = make_reads(150);
  doorbell::test::takes_one_entry = true;
  ASSERT_EQ(engine->start(pointers(reads)), reads.size());
  EXPECT_EQ(reap(*engine, reads.size()), reads.size());
}

// Oracle: the completion queue has fewer entries than there are requests, and each request completes once.
TEST_F(engine_queues, a_smaller_ring_is_made_where_memory_for_a_large_one_is_refused) {
  const doorbell::test::injections injected;
  doorbell::test::most_completions = 128;
  const auto engine = make(4000);
  const auto reads = make_reads(1000);
  ASSERT_EQ(engine->start(pointers(reads)), reads.size());
  EXPECT_EQ(reap(*engine, reads.size()), reads.size());
  doorbell::test::most_completions = 1;
  std::error_code ec;
  EXPECT_EQ(engine_uring::make(4000, ec), nullptr);
  EXPECT_EQ(ec, std::errc::not_enough_memory);
}

// Oracle: a thread for which a wake was meant does not sleep, although reap() runs before its wait.
TEST_F(engine_queues, a_reap_does_not_consume_a_wake_of_a_waiting_thread) {
  const auto engine = make(4);
  const auto reads = make_reads(1);
  ASSERT_TRUE(engine->begin_wait());
  engine->wake();
  ASSERT_EQ(engine->start(pointers(reads)), reads.size());
  std::array<completion, 4> done;
  ASSERT_EQ(engine->reap(done), 0U);
  EXPECT_EQ(engine->wait(std::chrono::steady_clock::now() + 5s), engine::wait_result::ready);
  engine->end_wait();
  EXPECT_EQ(reap(*engine, reads.size()), reads.size());
}

TEST_F(engine_queues, a_wake_ends_a_wait_although_the_completion_queue_overflows) {
  const auto engine = make(1);
  const auto reads = make_reads(100);
  ASSERT_EQ(engine->start(pointers(reads)), reads.size());
  ASSERT_TRUE(engine->begin_wait());
  engine->wake();
  EXPECT_EQ(engine->wait({}), engine::wait_result::ready);
  engine->end_wait();
  EXPECT_EQ(reap(*engine, reads.size()), reads.size());
}

TEST_F(engine_queues, a_wake_reaches_a_thread_that_waits_in_the_ring) {
  auto made = make(8);
  const auto& ring = *made;
  engine_failover both{std::move(made), 8};
  ASSERT_TRUE(both.begin_wait());
  both.wake();
  EXPECT_TRUE(ring.has_requests());  // the wake itself, whose completion ends a wait
  both.end_wait();
  std::array<completion, 8> done;
  EXPECT_EQ(both.reap(done), 0U);
  EXPECT_FALSE(ring.has_requests());
}

}  // namespace
