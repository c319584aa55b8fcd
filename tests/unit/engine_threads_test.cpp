// SPDX-License-Identifier: Apache-2.0
//
// engine_threads alone, on a set of I/O threads with one worker: which requests it completes, which it can cancel, and
// how it announces completions.
#include "../../aio/engine/threads/engine_threads.hpp"

#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <latch>
#include <span>
#include <thread>
#include <vector>

#include "../../aio/system/tsan_annotations.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"
#include "support/signal_handler.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using doorbell::aio::completion;
using doorbell::aio::engine;
using doorbell::aio::request;
namespace aio = doorbell::aio;

// The set of I/O threads is never destroyed, because its threads run until the process ends.
aio::io_threads& one_worker() {
  static aio::io_threads& made = *new aio::io_threads{{.most_workers = 1, .idle_time = 1h, .least_workers = 1}, 1};
  EXPECT_FALSE(made.start());
  return made;
}

/// Keeps the only worker busy.
class held_up final : public aio::worker_pool::per_context_queue {
 public:
  held_up() {
    EXPECT_EQ(one_worker().workers.push(*this, busy_), aio::worker_pool::pushed::queued);
    inside_.wait();
  }
  ~held_up() {
    let_go();
    left_.wait();
  }
  void carry_out(request&) noexcept override {
    inside_.count_down();
    open_.wait();
  }
  void conclude(request&) noexcept override { left_.count_down(); }
  void let_go() {
    if (!open_.try_wait()) open_.count_down();
  }

 private:
  request busy_{aio::iocb_abi{}, nullptr};
  std::latch inside_{1};
  std::latch open_{1};
  std::latch left_{1};
};

class engine_threads : public testing::Test {
 protected:
  engine_threads() { owned.reserve(64); }

  request& made(const aio::iocb& asked) { return *owned.emplace_back(new request{asked, nullptr}); }
  request& started(const aio::iocb& asked) {
    auto* const one = &made(asked);
    EXPECT_EQ(carrier.start({&one, 1}), 1U);
    return *one;
  }
  request& started_read() { return started(aio::prep_pread(file.get(), text.data(), 5, 0)); }
  void cancel(request& one) {
    one.cancelled = true;
    EXPECT_EQ(carrier.cancel(one), aio::engine::cancel_result::asked);
  }

  std::vector<completion> reaped() {
    std::array<completion, 64> some{};
    const auto count = carrier.reap(some);
    return {some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  std::vector<completion> reaped(std::size_t count) {
    std::vector<completion> all;
    EXPECT_TRUE(doorbell::test::eventually([&] {
      for (const auto& each : reaped()) all.push_back(each);
      return all.size() >= count;
    }));
    return all;
  }

  aio::engine_threads carrier{one_worker()};
  doorbell::base::unique_fd file = doorbell::test::temporary_file("hello, world");
  std::array<char, 64> text{};
  std::vector<std::unique_ptr<request>> owned;
};

TEST_F(engine_threads, reaps_completions_in_the_order_in_which_they_came) {
  const auto zero = doorbell::base::unique_fd{::open("/dev/zero", O_RDONLY | O_CLOEXEC)};
  std::vector<request*> order;
  order.reserve(10);
  for (int n = 0; n < 10; ++n) order.push_back(&started(aio::prep_pread(zero.get(), text.data(), 1, 0)));
  const auto all = reaped(order.size());
  ASSERT_EQ(all.size(), order.size());
  for (std::size_t n = 0; n < order.size(); ++n) EXPECT_EQ(all[n].done, order[n]);
}

TEST_F(engine_threads, cancels_a_request_that_no_worker_has_begun) {
  held_up worker;
  auto& waiting = started_read();
  EXPECT_TRUE(reaped().empty());
  cancel(waiting);
  const auto all = reaped();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].done, &waiting);
  EXPECT_EQ(all[0].res, -ECANCELED);
}

// Oracle: the I/O threads have one descriptor for the transfers that wait for one file, and one for each other request.
TEST_F(engine_threads, transfers_that_wait_for_one_file_share_a_descriptor) {
  EXPECT_TRUE(doorbell::test::eventually([] { return one_worker().pins.size() == 0; }));
  const auto other = doorbell::test::temporary_file("hello");
  {
    const held_up meanwhile;
    for (int n = 0; n < 3; ++n) started_read();
    EXPECT_EQ(one_worker().pins.size(), 1U);
    started(aio::prep_pread(other.get(), text.data(), 5, 0));
    EXPECT_EQ(one_worker().pins.size(), 2U);
    started(aio::prep_fsync(file.get()));
    EXPECT_EQ(one_worker().pins.size(), 3U);
  }
  EXPECT_EQ(reaped(5).size(), 5U);
  EXPECT_TRUE(doorbell::test::eventually([] { return one_worker().pins.size() == 0; }));
}

TEST_F(engine_threads, a_cancel_after_the_completion_has_no_effect) {
  auto& done = started_read();
  EXPECT_EQ(reaped(1)[0].res, 5);
  cancel(done);
  EXPECT_TRUE(reaped().empty());
}

// Oracle: each request has one completion, with its result or as cancelled, whichever thread is faster.
TEST_F(engine_threads, a_request_has_one_completion_whether_cancelled_or_not) {
  const doorbell::test::pipe_ends pipe;
  char taken = 0;
  for (int round = 0; round < 500; ++round) {
    auto& read = started_read();
    auto& waiting = started(aio::prep_pread(pipe.read.get(), &taken, 1, 0));
    doorbell::test::run_together(3, [&](std::size_t who) {
      if (who == 2) {
        ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
      }
      cancel(who == 0 ? read : waiting);
    });
    const auto all = reaped(2);
    EXPECT_EQ(all.size(), 2U);
    EXPECT_TRUE(reaped().empty());
    for (const auto& each : all) EXPECT_TRUE(each.res == -ECANCELED || each.res == (each.done == &read ? 5 : 1));
    if (waiting.by_threads.res != 1) {
      ASSERT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
    }
    owned.clear();
  }
}

TEST_F(engine_threads, each_completion_is_an_edge_of_the_descriptor) {
  const doorbell::base::unique_fd loop{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(::epoll_ctl(loop.get(), EPOLL_CTL_ADD, carrier.descriptor(), &event), 0);
  EXPECT_EQ(::epoll_wait(loop.get(), &event, 1, 0), 0);
  for (int n = 0; n < 3; ++n) {
    started_read();
    EXPECT_EQ(::epoll_wait(loop.get(), &event, 1, 20'000), 1);
  }
  EXPECT_EQ(reaped(3).size(), 3U);
  pollfd readable{.fd = carrier.descriptor(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 0);
}

TEST_F(engine_threads, a_descriptor_made_after_a_completion_is_readable) {
  started_read();
  ASSERT_EQ(carrier.wait({}), engine::wait_result::ready);
  pollfd readable{.fd = carrier.descriptor(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 1);
  EXPECT_EQ(reaped().size(), 1U);
}

TEST_F(engine_threads, a_wait_ends_at_its_deadline) {
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() + 1ms), engine::wait_result::timed_out);
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() - 1h), engine::wait_result::timed_out);
}

TEST_F(engine_threads, a_wake_before_the_wait_is_not_lost) {
  carrier.wake();
  EXPECT_EQ(carrier.wait({}), engine::wait_result::ready);
}

TEST_F(engine_threads, a_wake_ends_a_wait) {
  doorbell::test::sleeper asleep;
  std::thread waiter{[&] {
    asleep.here();
    EXPECT_EQ(carrier.wait({}), engine::wait_result::ready);
  }};
  EXPECT_TRUE(asleep.wait_until_asleep());
  carrier.wake();
  waiter.join();
}

TEST_F(engine_threads, a_signal_handler_interrupts_a_wait_even_under_sa_restart) {
  const doorbell::test::signal_handler handled{SA_RESTART};
  auto result = engine::wait_result::ready;
  doorbell::test::call_under_signals([&] { result = carrier.wait({}); });
  EXPECT_EQ(result, engine::wait_result::interrupted);
}

// Requests in flight in the parent stay with the threads of the parent; a context that the child makes has threads of
// its own.
TEST(forked, a_context_of_a_child_has_new_threads) {
#if defined(DOORBELL_THREAD_SANITIZER)
  GTEST_SKIP() << "ThreadSanitizer allows no new threads in a child of a process with threads";
#endif
  const auto file = doorbell::test::temporary_file("hello");
  const doorbell::test::pipe_ends pipe;
  std::array<char, 8> text{};
  const auto read_by = [&](aio::context& ctx) {
    auto read = aio::prep_pread(file.get(), text.data(), text.size(), 0);
    auto late = aio::prep_pread(pipe.read.get(), text.data(), 1, 0);
    ctx.submit({&read, &late});
    std::array<aio::io_event, 1> events{};
    EXPECT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
    EXPECT_EQ(events[0].res, 5);
  };
  aio::context parents{8, aio::engine_kind::threads};
  read_by(parents);
  doorbell::test::in_child([&] {
    aio::context own{8, aio::engine_kind::threads};
    read_by(own);
  });
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  std::array<aio::io_event, 1> events{};
  ASSERT_EQ(parents.get_events(1, events, 20s).size(), 1U);
  EXPECT_EQ(events[0].res, 1);
}

// The pipe, the file and the buffers are declared before the context, so that they outlive it: requests in flight use
// them.
[[noreturn]] void exit_with_requests_in_flight() {
  static const doorbell::test::pipe_ends pipe;
  static const auto file = doorbell::test::temporary_file("hello");
  static std::array<char, 8> text;
  static std::array<char, 8> other;
  static aio::context ctx{64, aio::engine_kind::threads};
  auto late = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
  auto read = aio::prep_pread(file.get(), other.data(), other.size(), 0);
  ctx.submit({&late, &read});
  std::exit(0);
}

// The end of the process does not wait for a read of a pipe that no thread writes to.
TEST(exiting, ends_requests_in_flight) { EXPECT_EXIT(exit_with_requests_in_flight(), testing::ExitedWithCode(0), ""); }

// Oracle: the write end reports that the pipe has no reader. A child that kept a copy of the read end would prevent
// this.
TEST(forked, a_child_keeps_no_descriptor_of_its_parents_requests) {
  doorbell::test::pipe_ends pipe;
  std::array<char, 8> text{};
  aio::context ctx{8, aio::engine_kind::threads};
  auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
  ctx.submit({&read});
  doorbell::test::pipe_ends ends_with_us;
  const pid_t child = doorbell::test::fork_when_quiet();
  if (child == 0) {
    pipe.read.reset();
    ends_with_us.write.reset();
    // The parent's own write end is still open, and the read below ends when the parent closes it. So the child lives
    // until then.
    char nothing = 0;
    ::_exit(::read(ends_with_us.read.get(), &nothing, 1) == 0 ? 0 : 1);
  }
  pipe.read.reset();
  ctx.destroy();
  pollfd broken{.fd = pipe.write.get(), .events = 0, .revents = 0};
  EXPECT_TRUE(doorbell::test::eventually([&] { return ::poll(&broken, 1, 0) == 1; })) << "the read end is still open";
  ends_with_us.write.reset();
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
