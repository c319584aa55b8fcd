// SPDX-License-Identifier: Apache-2.0
//
// Calls made by a signal handler, which may have interrupted any code, including another call of the library.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/in_handler.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"
#include "support/watchdog.hpp"

DOORBELL_TEST_ALLOCATES_IN_HANDLERS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::alarm_clock;
using doorbell::test::in_handler;

timespec no_time{};

/// Submits reads of a cached file, each with its own number, and counts the events of each number. Used by one thread
/// and its signal handlers.
class numbered_reads {
 public:
  explicit numbered_reads(aio::aio_context_t ctx) : ctx_{ctx} {}

  /// @return the result of io_submit().
  int submit(char* into) {
    const auto number = next_++;
    auto read = aio::prep_pread(file_.get(), into, 1, 0);
    read.data = reinterpret_cast<void*>(number);
    const bool has_eventfd = number % 2 == 0;
    if (has_eventfd) {
      read.flags = aio::iocb_abi::flag_resfd;
      read.resfd = static_cast<std::uint32_t>(eventfd_.get());
    }
    aio::iocb_abi* asked = &read;
    const int answer = aio::io_submit(ctx_, 1, &asked);
    if (answer != 1) return answer;
    ++accepted_;
    ++left_[number];
    if (has_eventfd) ++signals_;
    return answer;
  }

  /// @return the result of io_getevents().
  int get(long min, timespec* timeout) {
    aio::io_event event{};
    const int answer = aio::io_getevents(ctx_, min, 1, &event, timeout);
    if (answer == 1) --left_[reinterpret_cast<std::uintptr_t>(event.data)];
    return answer;
  }

  [[nodiscard]] bool has_numbers() const { return next_ + 2 < left_.size(); }

  /// Oracle: each accepted request completed exactly once, and signalled its eventfd exactly once.
  void expect_each_answered_once() {
    while (get(0, &no_time) == 1) {
    }
    for (std::size_t number = 0; number < left_.size(); ++number) EXPECT_EQ(left_[number], 0) << "request " << number;
    EXPECT_EQ(doorbell::test::take_until(eventfd_.get(), signals_), signals_);
    EXPECT_GT(accepted_, 0U);
  }

 private:
  const aio::aio_context_t ctx_;
  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("x");
  const doorbell::base::unique_fd eventfd_ = doorbell::test::kernel_eventfd();
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint64_t> accepted_{0};
  std::atomic<std::uint64_t> signals_{0};
  std::vector<std::atomic<int>> left_ = decltype(left_)(100'000);
};

class aio_in_handler : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(aio::io_setup(64, &ctx_), 0); }
  void TearDown() override { aio::io_destroy(ctx_); }

  const doorbell::test::watchdog dog_;
  std::array<char, 2> text_{};
  aio::aio_context_t ctx_ = 0;
};

TEST_F(aio_in_handler, each_request_completes_once_although_thread_and_handler_submit_and_get) {
  numbered_reads reads{ctx_};
  std::atomic<unsigned> handled{0};
  std::atomic<unsigned> wrong{0};
  const in_handler handler{[&] {
    ++handled;
    if (!reads.has_numbers()) return;
    const int submitted = reads.submit(&text_[1]);
    const int got = reads.get(0, &no_time);
    if ((submitted != 1 && submitted != -EAGAIN) || (got != 0 && got != 1 && got != -EINTR)) ++wrong;
  }};
  alarm_clock clock;
  ASSERT_TRUE(clock.set(20'000, 20'000));
  const auto end = std::chrono::steady_clock::now() + 2s;
  while (std::chrono::steady_clock::now() < end && reads.has_numbers()) {
    EXPECT_EQ(reads.submit(&text_[0]), 1);
    EXPECT_GE(reads.get(0, &no_time), 0);
  }
  clock.stop();
  EXPECT_EQ(wrong, 0U);
  EXPECT_GT(handled, 0U);
  reads.expect_each_answered_once();
}

// Oracle: io_getevents() returns soon, with the event of the handler's request or with -EINTR.
TEST_F(aio_in_handler, a_wait_returns_soon_after_a_handler_that_submits) {
  if (doorbell::test::thread_sanitized)
    GTEST_SKIP()
        << "ThreadSanitizer delays the handler of a signal that comes shortly before a sleep until after the sleep";
  numbered_reads reads{ctx_};
  const in_handler handler{[&] { reads.submit(&text_[1]); }};
  alarm_clock clock;
  const auto end = std::chrono::steady_clock::now() + 4s;
  for (long n = 0; n < 4000 && std::chrono::steady_clock::now() < end; ++n) {
    timespec longer_than_the_test{.tv_sec = 20, .tv_nsec = 0};
    ASSERT_TRUE(clock.set(1 + n % 40 * 250));
    const auto before = std::chrono::steady_clock::now();
    const int answer = reads.get(1, &longer_than_the_test);
    ASSERT_TRUE(answer == 1 || answer == -EINTR) << answer;
    ASSERT_LT(std::chrono::steady_clock::now() - before, 10s);
    reads.get(0, &no_time);
  }
  reads.expect_each_answered_once();
}

TEST_F(aio_in_handler, a_handler_that_interrupts_a_wait_may_make_any_call) {
  numbered_reads reads{ctx_};
  std::array<int, 5> answers{};
  const in_handler handler{[&] {
    aio::aio_context_t own = 0;
    timespec a_millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
    aio::io_event event{};
    answers[0] = aio::io_setup(8, &own);
    answers[1] = aio::io_destroy(own);
    answers[2] = aio::io_getevents(ctx_, 1, 1, &event, &a_millisecond);
    answers[3] = reads.submit(&text_[1]);
    answers[4] = reads.get(1, nullptr);
  }};
  alarm_clock clock;
  ASSERT_TRUE(clock.set(100'000'000));
  EXPECT_EQ(reads.get(1, nullptr), -EINTR);
  EXPECT_EQ(answers, (std::array{0, 0, 0, 1, 1}));
  EXPECT_EQ(reads.submit(&text_[0]), 1);
  reads.expect_each_answered_once();
}

TEST_F(aio_in_handler, a_handler_may_destroy_the_context_that_the_interrupted_call_waits_for) {
  for (int n = 0; n < 3; ++n) {
    aio::aio_context_t own = 0;
    ASSERT_EQ(aio::io_setup(8, &own), 0);
    int destroyed = 1;
    const in_handler handler{[&] { destroyed = aio::io_destroy(own); }};
    alarm_clock clock;
    ASSERT_TRUE(clock.set(50'000'000));
    aio::io_event event{};
    EXPECT_EQ(aio::io_getevents(own, 1, 1, &event, nullptr), -EINTR);
    EXPECT_EQ(destroyed, 0);
    EXPECT_EQ(aio::io_getevents(own, 0, 1, &event, &no_time), -EINVAL);
  }
}

// Oracle: a refused call has no effect, and the interrupted calls succeed.
TEST_F(aio_in_handler, setup_cancel_and_destroy_in_a_handler_succeed_or_are_refused) {
  std::atomic<unsigned> wrong{0};
  const doorbell::test::pipe_ends pipe;
  const in_handler handler{[&] {
    aio::aio_context_t own = 0;
    const int made = aio::io_setup(8, &own);
    if (made == -EAGAIN && own != 0) ++wrong;
    if (made == 0 && aio::io_destroy(own) != 0) ++wrong;
    auto unknown = aio::prep_pread(pipe.read.get(), &text_[1], 1, 0);
    const int cancelled = aio::io_cancel(ctx_, &unknown, nullptr);
    if ((made != 0 && made != -EAGAIN) || (cancelled != -EINVAL && cancelled != -EAGAIN)) ++wrong;
  }};
  alarm_clock clock;
  ASSERT_TRUE(clock.set(200'000, 200'000));
  const auto end = std::chrono::steady_clock::now() + 1s;
  while (std::chrono::steady_clock::now() < end) {
    aio::aio_context_t own = 0;
    ASSERT_EQ(aio::io_setup(8, &own), 0);
    auto read = aio::prep_pread(pipe.read.get(), &text_[0], 1, 0);
    aio::iocb_abi* asked = &read;
    ASSERT_EQ(aio::io_submit(own, 1, &asked), 1);
    ASSERT_EQ(aio::io_cancel(own, &read, nullptr), -EINPROGRESS);
    ASSERT_EQ(aio::io_destroy(own), 0);
  }
  clock.stop();
  EXPECT_EQ(wrong, 0U);
}

TEST(aio_context_in_handler, submit_and_get_events_succeed_or_are_refused) {
  const doorbell::test::watchdog dog;
  const auto file = doorbell::test::temporary_file("x");
  aio::context ctx{8};
  std::array<char, 2> text{};
  std::array<std::atomic<int>, 2> balance{};
  std::atomic<unsigned> wrong{0};
  std::array reads{aio::prep_pread(file.get(), &text[0], 1, 0), aio::prep_pread(file.get(), &text[1], 1, 0)};
  const auto submit_and_get = [&](std::size_t whose) {
    std::error_code ec;
    if (ctx.submit({&reads[whose]}, ec) == 1)
      ++balance[whose];
    else if (ec != std::errc::resource_unavailable_try_again)
      ++wrong;
    std::array<aio::io_event, 1> event{};
    for (const auto& each : ctx.get_events(0, event, ec)) --balance[each.obj == &reads[0] ? 0 : 1];
    if (ec && ec != std::errc::interrupted) ++wrong;
  };
  {
    const in_handler handler{[&] { submit_and_get(1); }};
    alarm_clock clock;
    ASSERT_TRUE(clock.set(20'000, 20'000));
    const auto end = std::chrono::steady_clock::now() + 1s;
    while (std::chrono::steady_clock::now() < end) submit_and_get(0);
    clock.stop();
  }
  std::array<aio::io_event, 1> event{};
  while (!ctx.get_events(0, event).empty()) --balance[event[0].obj == &reads[0] ? 0 : 1];
  EXPECT_EQ(balance[0], 0);
  EXPECT_EQ(balance[1], 0);
  EXPECT_EQ(wrong, 0U);
}

// Oracle: in the quickest of a few rounds, the handler gets its event much earlier than after a second, which is the
// time after which a thread that waits behind another one looks for events by itself.
TEST_F(aio_in_handler, a_wait_of_a_handler_that_interrupts_a_wait_is_woken_by_its_event) {
  const doorbell::test::pipe_ends pipe;
  aio::iocb_abi read = aio::prep_pread(pipe.read.get(), &text_[1], 1, 0);
  auto shortest = std::chrono::steady_clock::duration::max();
  for (int round = 0; round < 3; ++round) {
    doorbell::test::sleeper waiting;
    std::atomic<bool> is_submitted{false};
    std::chrono::steady_clock::time_point before;
    std::jthread writer{[&] {
      is_submitted.wait(false);
      EXPECT_TRUE(waiting.wait_until_asleep());
      before = std::chrono::steady_clock::now();
      EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1);
    }};
    int got = 0;
    aio::io_event event{};
    const in_handler handler{[&] {
      aio::iocb_abi* asked = &read;
      got = aio::io_submit(ctx_, 1, &asked);
      waiting.here();
      is_submitted = true;
      is_submitted.notify_all();
      if (got == 1) got = aio::io_getevents(ctx_, 1, 1, &event, nullptr);
    }};
    doorbell::test::sleeper outer;
    const std::jthread interrupter{[&, thread = ::pthread_self()] {
      EXPECT_TRUE(outer.wait_until_asleep());
      ::pthread_kill(thread, SIGUSR1);
    }};
    outer.here();
    aio::io_event none{};
    EXPECT_EQ(aio::io_getevents(ctx_, 1, 1, &none, nullptr), -EINTR);
    const auto after = std::chrono::steady_clock::now();
    writer.join();
    EXPECT_EQ(got, 1);
    shortest = std::min(shortest, after - before);
  }
  EXPECT_LT(shortest, 500ms);
}

}  // namespace
