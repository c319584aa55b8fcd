// SPDX-License-Identifier: Apache-2.0
//
// engine_threads, and how a thread that sleeps in the kernel's AIO, or at the descriptor, is woken.
//
// A real disk answers too fast for a thread to fall asleep. Where a test needs a request that stays in the kernel, it
// marks a poll of a pipe as a direct transfer.
#include "../../aio/engine/threads/engine_threads.hpp"

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/errno_kept.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "../../aio/system/tsan_annotations.hpp"
#include "direct_transfers.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/in_handler.hpp"
#include "support/refused_calls.hpp"
#include "support/signal_handler.hpp"
#include "support/threads.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using aio::completion;
using aio::engine;
using aio::request;
using doorbell::base::unique_fd;
using doorbell::test::in_child;

class engine_with_kernel_aio : public testing::Test {
 protected:
  engine_with_kernel_aio() {
    if (doorbell::test::has_kernel_aio()) return;
    is_left_out = true;
  }
  void SetUp() override {
    if (is_left_out) GTEST_SKIP() << "no kernel AIO in this system";
  }

  static aio::io_threads& io_threads() {
    static aio::io_threads& made = *new aio::io_threads{{.most_workers = 2, .idle_time = 1h}, 1};
    return made;
  }
  request& started(const aio::iocb& asked, bool by_kernel) {
    auto* const one = owned.emplace_back(new request{asked, nullptr}).get();
    one->may_use_kernel_aio = by_kernel;
    EXPECT_EQ(carrier.start({&one, 1}), 1U);
    return *one;
  }
  /// A request that stays in the kernel until let_go().
  request& long_one() { return started(aio::prep_poll(pipe.read.get(), POLLIN), true); }
  void let_go() { ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1); }
  request& work() { return started(aio::prep_pread(file.get(), text.data(), 5, 0), false); }

  std::size_t reaped() {
    std::array<completion, 64> some{};
    return carrier.reap(some) + reaped_early.exchange(0);
  }
  [[nodiscard]] bool reaped_eventually(std::size_t count) {
    std::size_t all = 0;
    return doorbell::test::eventually([&] { return (all += reaped()) >= count; }) && all == count;
  }
  [[nodiscard]] bool is_readable() const { return doorbell::test::readable(carrier.descriptor()); }

  /// Consumes wakes that are left over because no thread slept. @return whether a wait sleeps until its deadline again.
  [[nodiscard]] bool sleeps_again() {
    return doorbell::test::eventually([&] {
      EXPECT_EQ(reaped(), 0U);
      return carrier.wait(std::chrono::steady_clock::now() + 1ms) == engine::wait_result::timed_out;
    });
  }

  /// Runs `body` while another thread sleeps in wait(). @return the result of that wait. An earlier wake() may have
  /// cancelled a poll whose completion ends a later wait. So if a wait ends before `body` runs, the thread removes the
  /// completion by reap() and waits again.
  template <class Body>
  engine::wait_result waiting_during(Body body) {
    doorbell::test::sleeper asleep;
    std::atomic<bool> has_begun{false};
    auto result = engine::wait_result::timed_out;
    std::thread waiter{[&] {
      asleep.here();
      bool was_early = true;
      while (was_early) {
        result = carrier.wait(std::chrono::steady_clock::now() + 20s);
        was_early = result == engine::wait_result::ready && !has_begun;
        if (was_early) reaped_early += reaped();
      }
    }};
    EXPECT_TRUE(asleep.wait_until_asleep());
    has_begun = true;
    body();
    waiter.join();
    return result;
  }

  bool is_left_out = false;
  std::atomic<std::size_t> reaped_early{0};
  doorbell::test::pipe_ends pipe;
  unique_fd file = doorbell::test::temporary_file("hello, world");
  std::array<char, 64> text{};
  std::vector<std::unique_ptr<request>> owned;
  aio::engine_threads carrier{io_threads()};
};

TEST_F(engine_with_kernel_aio, a_completion_in_the_kernel_ends_a_wait) {
  long_one();
  EXPECT_EQ(waiting_during([&] { let_go(); }), engine::wait_result::ready);
  EXPECT_EQ(reaped(), 1U);
}

TEST_F(engine_with_kernel_aio, a_completion_by_a_worker_ends_a_wait_in_the_kernel) {
  long_one();
  for (int round = 0; round < 20; ++round) {
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(waiting_during([&] { work(); }), engine::wait_result::ready);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 900ms);
    EXPECT_TRUE(reaped_eventually(1));
  }
  let_go();
  EXPECT_TRUE(reaped_eventually(1));
}

TEST_F(engine_with_kernel_aio, a_wake_ends_a_wait_in_the_kernel) {
  long_one();
  for (int round = 0; round < 20; ++round) {
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(waiting_during([&] { carrier.wake(); }), engine::wait_result::ready);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 900ms);
    EXPECT_EQ(reaped(), 0U);
  }
  let_go();
  EXPECT_TRUE(reaped_eventually(1));
}

// Oracle: the wait ends before its deadline.
TEST_F(engine_with_kernel_aio, a_wake_ends_a_wait_although_io_cancel_is_refused) {
#if defined(DOORBELL_THREAD_SANITIZER)
  GTEST_SKIP() << "ThreadSanitizer allows no new threads in a child of a process with threads";
#endif
  in_child([&] {
    doorbell::test::refuse(SYS_io_cancel, EPERM);
    aio::engine_threads own{*new aio::io_threads{{.most_workers = 1, .idle_time = 1h}, 2}};
    const auto poll = std::make_unique<request>(aio::prep_poll(pipe.read.get(), POLLIN), nullptr);
    poll->may_use_kernel_aio = true;
    auto* const one = poll.get();
    ASSERT_EQ(own.start({&one, 1}), 1U);
    const std::jthread waker{[&] {
      std::this_thread::sleep_for(20ms);
      own.wake();
    }};
    EXPECT_EQ(own.wait(std::chrono::steady_clock::now() + 10s), engine::wait_result::ready);
    let_go();
    std::array<completion, 1> done{};
    EXPECT_TRUE(doorbell::test::eventually([&] { return own.reap(done) == 1; }));
  });
}

// The waiting thread sleeps on the futex, which the kernel's AIO does not wake.
TEST_F(engine_with_kernel_aio, a_wait_on_the_futex_ends_after_a_request_is_started_and_completes_in_the_kernel) {
  EXPECT_EQ(waiting_during([&] {
              long_one();
              let_go();
            }),
            engine::wait_result::ready);
  EXPECT_TRUE(reaped_eventually(1));
}

TEST_F(engine_with_kernel_aio, a_wait_in_the_kernel_ends_at_its_deadline) {
  long_one();
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() + 1ms), engine::wait_result::timed_out);
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() - 1h), engine::wait_result::timed_out);
  let_go();
  EXPECT_TRUE(reaped_eventually(1));
}

TEST_F(engine_with_kernel_aio, a_signal_handler_interrupts_a_wait_in_the_kernel) {
  const doorbell::test::signal_handler handled{SA_RESTART};
  long_one();
  auto result = engine::wait_result::ready;
  doorbell::test::call_under_signals([&] { result = carrier.wait({}); });
  EXPECT_EQ(result, engine::wait_result::interrupted);
  let_go();
  EXPECT_TRUE(reaped_eventually(1));
}

TEST_F(engine_with_kernel_aio, the_descriptor_is_readable_while_there_are_completions_of_the_kernel) {
  const unique_fd loop{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(::epoll_ctl(loop.get(), EPOLL_CTL_ADD, carrier.descriptor(), &event), 0);
  for (int round = 0; round < 3; ++round) {
    long_one();
    EXPECT_FALSE(is_readable());
    let_go();
    EXPECT_EQ(::epoll_wait(loop.get(), &event, 1, 20'000), 1);
    EXPECT_TRUE(is_readable());
    work();
    EXPECT_EQ(::epoll_wait(loop.get(), &event, 1, 20'000), 1);
    EXPECT_TRUE(reaped_eventually(2));
    EXPECT_EQ(reaped(), 0U);
    EXPECT_FALSE(is_readable());
    ASSERT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
  }
}

// Oracle: the descriptor is readable until each completion has been reaped.
TEST_F(engine_with_kernel_aio, the_descriptor_stays_readable_until_the_last_completion_is_reaped) {
  for (int n = 0; n < 3; ++n) long_one();
  let_go();
  ASSERT_TRUE(doorbell::test::eventually([&] { return doorbell::test::readable(carrier.descriptor()); }));
  for (int n = 0; n < 3; ++n) {
    EXPECT_TRUE(is_readable());
    std::array<completion, 1> one{};
    EXPECT_TRUE(doorbell::test::eventually([&] { return carrier.reap(one) == 1; }));
  }
  EXPECT_EQ(reaped(), 0U);
  EXPECT_FALSE(is_readable());
}

// Oracle: the waiting thread wakes although another thread has fetched all completions from the ring of the kernel.
TEST_F(engine_with_kernel_aio, a_wake_is_not_lost_when_another_thread_fetches_completions) {
  for (int round = 0; round < 50; ++round) {
    long_one();
    long_one();
    ASSERT_TRUE(sleeps_again());
    EXPECT_EQ(waiting_during([&] {
                std::jthread other{[&] {
                  std::size_t got = 0;
                  EXPECT_TRUE(doorbell::test::eventually([&] { return (got += reaped()) == 2; }));
                }};
                carrier.wake();
                let_go();
                other.join();
                carrier.wake();
              }),
              engine::wait_result::ready);
    ASSERT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
    owned.clear();
  }
}

sigjmp_buf landing;

// The handler completes the request, and then jumps out of the wait that it interrupted.
// Oracle: the completion is still there; later waits sleep, and are ended by a wake and by the completion of a worker.
TEST_F(engine_with_kernel_aio, a_jump_out_of_a_wait_in_the_kernel_loses_nothing) {
  doorbell::test::alarm_clock clock;
  const doorbell::test::in_handler handler{[this] {
    std::ignore = ::write(pipe.write.get(), "x", 1);
    siglongjmp(landing, 1);
  }};
  for (int round = 0; round < 20; ++round) {
    long_one();
    if (sigsetjmp(landing, 1) == 0) {
      ASSERT_TRUE(clock.set(5'000'000));
      for (;;) std::ignore = carrier.wait({});
    }
    EXPECT_TRUE(reaped_eventually(1));
    ASSERT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
    long_one();
    carrier.wake();  // the waiting thread is not there any more
    EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() + 20s), engine::wait_result::ready);
    ASSERT_TRUE(sleeps_again());
    EXPECT_EQ(waiting_during([&] { work(); }), engine::wait_result::ready);
    EXPECT_TRUE(reaped_eventually(1));
    let_go();
    EXPECT_TRUE(reaped_eventually(1));
    ASSERT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
    owned.clear();
  }
}

// Oracle: the wait in the handler gets the completion and returns, as if there were no wait that the handler
// interrupts.
TEST_F(engine_with_kernel_aio, a_handler_may_wait_in_a_wait) {
  doorbell::test::alarm_clock clock;
  std::size_t got = 0;
  auto inner = engine::wait_result::timed_out;
  const doorbell::test::in_handler handler{[&] {
    const doorbell::base::errno_kept around;
    std::ignore = ::write(pipe.write.get(), "x", 1);
    inner = carrier.wait(std::chrono::steady_clock::now() + 20s);
    got = reaped();
  }};
  long_one();
  ASSERT_TRUE(clock.set(20'000'000));
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() + 20s), engine::wait_result::interrupted);
  EXPECT_EQ(inner, engine::wait_result::ready);
  EXPECT_EQ(got, 1U);
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() + 1ms), engine::wait_result::timed_out);
}

// Oracle: a request counts as carried out from its completion until it is reaped; a wake does not count.
TEST_F(engine_with_kernel_aio, a_completion_in_the_kernel_is_counted_before_it_is_fetched) {
  long_one().ends_by_itself = true;
  long_one().ends_by_itself = true;
  EXPECT_EQ(waiting_during([&] { carrier.wake(); }), engine::wait_result::ready);
  EXPECT_EQ(carrier.file_io_done().carried_out, 0U);
  let_go();
  EXPECT_TRUE(doorbell::test::eventually([&] { return carrier.file_io_done().carried_out == 2; }));
  std::array<completion, 1> one{};
  EXPECT_EQ(carrier.reap(one), 1U);
  EXPECT_EQ(carrier.file_io_done().carried_out, 1U);
  EXPECT_EQ(carrier.reap(one), 1U);
  EXPECT_EQ(carrier.file_io_done().carried_out, 0U);
}

// The ring of engine_failover reads the eventfd in the same way. Oracle: each completion is announced to the reader,
// also after the reader has taken counts whose completions were not fetched; and to a thread that polls afterwards.
TEST_F(engine_with_kernel_aio, each_completion_is_announced_to_a_reader_that_takes_the_counts) {
  const int descriptor = carrier.descriptor_for_reader().number;
  const auto takes_signal = [&] {
    eventfd_t count = 0;
    return doorbell::test::eventually([&] { return ::eventfd_read(descriptor, &count) == 0; });
  };
  for (int round = 0; round < 20; ++round) {
    long_one();
    let_go();
    EXPECT_TRUE(takes_signal());
    EXPECT_TRUE(reaped_eventually(1));
    work();
    EXPECT_TRUE(takes_signal());
    EXPECT_TRUE(reaped_eventually(1));
    ASSERT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
  }
  EXPECT_EQ(reaped(), 0U);
  EXPECT_EQ(carrier.descriptor(), descriptor);
  EXPECT_FALSE(is_readable());
  long_one();
  let_go();
  EXPECT_TRUE(doorbell::test::eventually([&] { return is_readable(); }));
  EXPECT_TRUE(reaped_eventually(1));
  EXPECT_TRUE(doorbell::test::eventually([&] { return reaped() == 0 && !is_readable(); }));
}

// Oracle: each request completes once, and the waits for it return soon.
TEST_F(engine_with_kernel_aio, no_completion_is_missed_when_all_kinds_race) {
  constexpr int rounds = 300;
  for (int round = 0; round < rounds; ++round) {
    std::size_t got = 0;
    long_one();
    const auto began = std::chrono::steady_clock::now();
    doorbell::test::run_together(3, [&](std::size_t who) {
      if (who == 0) let_go();
      if (who == 1) work();
      for (; who == 2 && got < 2; got += reaped())
        ASSERT_NE(carrier.wait(std::chrono::steady_clock::now() + 20s), engine::wait_result::timed_out);
    });
    EXPECT_EQ(got, 2U);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 900ms);
    ASSERT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
    owned.clear();
  }
}

}  // namespace
