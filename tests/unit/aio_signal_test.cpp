// SPDX-License-Identifier: Apache-2.0
//
// Calls under a storm of signals, with and without SA_RESTART.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <thread>
#include <vector>

#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"
#include "support/signal_handler.hpp"
#include "support/watchdog.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::test::call_under_signals;

class aio_under_signals : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { ASSERT_EQ(aio::io_setup(64, &ctx_), 0); }
  void TearDown() override { aio::io_destroy(ctx_); }

  // Each read has its own byte, because several threads may carry out reads in flight concurrently.
  int submit() {
    read_.buf = reinterpret_cast<std::uintptr_t>(&text_[next_++ % text_.size()]);
    aio::iocb_abi* asked = &read_;
    return aio::io_submit(ctx_, 1, &asked);
  }
  void let_one_complete() const { EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1); }
  int wait(const aio::aio_sigset* mask = nullptr) const {
    aio::io_event event{};
    return aio::io_pgetevents(ctx_, 1, 1, &event, nullptr, mask);
  }

  const doorbell::test::watchdog dog_;
  const doorbell::test::signal_handler handler_{GetParam()};
  const doorbell::test::pipe_ends pipe_;
  std::array<char, 512> text_{};
  std::size_t next_ = 0;
  aio::iocb_abi read_ = aio::prep_pread(pipe_.read.get(), text_.data(), 1, 0);
  aio::aio_context_t ctx_ = 0;
};

TEST_P(aio_under_signals, a_thread_that_sleeps_in_the_engine_is_interrupted) {
  int answer = 0;
  call_under_signals([&] { answer = wait(); });
  EXPECT_EQ(answer, -EINTR);
}

TEST_P(aio_under_signals, a_thread_that_sleeps_behind_another_is_interrupted) {
  ASSERT_EQ(submit(), 1);
  doorbell::test::asleep other{[this] { EXPECT_EQ(wait(), 1); }};
  int answer = 0;
  call_under_signals([&] { answer = wait(); });
  EXPECT_EQ(answer, -EINTR);
  let_one_complete();
  other.join();
}

TEST_P(aio_under_signals, a_thread_that_sleeps_with_a_mask_is_interrupted_by_an_unblocked_signal) {
  sigset_t none;
  sigemptyset(&none);
  const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
  int answer = 0;
  call_under_signals([&] { answer = wait(&mask); });
  EXPECT_EQ(answer, -EINTR);
}

// Oracle: two threads, which retry after each interruption, get as many events as there are requests.
TEST_P(aio_under_signals, no_event_is_lost) {
  constexpr int each = 100;
  const auto get_all = [this] {
    for (int got = 0; got < each;) {
      const int answer = wait();
      ASSERT_TRUE(answer == 1 || answer == -EINTR) << answer;
      got += answer == 1;
    }
  };
  std::jthread complete{[this] {
    for (int n = 0; n < 2 * each; ++n) {
      while (submit() != 1) std::this_thread::yield();
      let_one_complete();
    }
  }};
  std::jthread one{[&] { call_under_signals(get_all); }};
  call_under_signals(get_all);
}

// Oracle: calls that do not wait are not interrupted, and each request signals its eventfd once.
TEST_P(aio_under_signals, setup_submit_cancel_and_destroy_are_not_interrupted) {
  constexpr std::uint64_t rounds = 100;
  const auto efd = doorbell::test::kernel_eventfd();
  read_.flags = aio::iocb_abi::flag_resfd;
  read_.resfd = static_cast<std::uint32_t>(efd.get());
  call_under_signals([&] {
    for (std::uint64_t n = 0; n < rounds; ++n) {
      aio::aio_context_t own = 0;
      ASSERT_EQ(aio::io_setup(8, &own), 0);
      std::array<aio::iocb_abi*, 3> asked{&read_, &read_, &read_};
      ASSERT_EQ(aio::io_submit(own, 3, asked.data()), 3);
      ASSERT_EQ(aio::io_cancel(own, &read_, nullptr), -EINPROGRESS);
      ASSERT_EQ(aio::io_destroy(own), 0);
    }
  });
  EXPECT_EQ(doorbell::test::take(efd.get()), 3 * rounds);
}

void wait_for_a_timer_of_whole_seconds() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGVTALRM, &action, nullptr), 0);
  timer_t timer{};
  sigevent by_signal{};
  by_signal.sigev_notify = SIGEV_SIGNAL;
  by_signal.sigev_signo = SIGVTALRM;
  ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &by_signal, &timer), 0);
  aio::aio_context_t ctx = 0;
  ASSERT_EQ(aio::io_setup(8, &ctx), 0);
  const itimerspec two_seconds{.it_interval = {}, .it_value = {.tv_sec = 2, .tv_nsec = 0}};
  ASSERT_EQ(::timer_settime(timer, 0, &two_seconds, nullptr), 0);
  aio::io_event event{};
  EXPECT_EQ(aio::io_getevents(ctx, 1, 1, &event, nullptr), -EINTR);
}

// Oracle: each wait ends, also if its timer expires between two sleeps, where the library periodically checks its
// descriptors.
TEST(aio_timers, of_whole_seconds_interrupt_a_wait) {
  constexpr std::size_t waits = 8;
  std::vector<pid_t> children;
  for (std::size_t n = 0; n < waits; ++n)
    children.push_back(doorbell::test::start_child([] { wait_for_a_timer_of_whole_seconds(); }));
  for (const auto child : children) doorbell::test::expect_success(child);
}

/// The result of an io_pgetevents that does not wait and finds no event, in a process in which ppoll(2) always fails.
int answer_without_ppoll(int error, const aio::aio_sigset* mask) {
  aio::aio_context_t ctx = 0;
  EXPECT_EQ(aio::io_setup(8, &ctx), 0);
  doorbell::test::refuse(SYS_ppoll, error);
  aio::io_event event{};
  return aio::io_pgetevents(ctx, 0, 1, &event, nullptr, mask);
}

// Oracle: only EINTR, for a call with a mask, means that a signal handler has run.
TEST(aio_pending_signals, are_not_reported_for_other_errors_and_without_a_mask) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  sigset_t none;
  sigemptyset(&none);
  const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
  doorbell::test::in_child([&] { EXPECT_EQ(answer_without_ppoll(EINTR, &mask), -EINTR); });
  doorbell::test::in_child([&] { EXPECT_EQ(answer_without_ppoll(ENOSYS, &mask), 0); });
  doorbell::test::in_child([] { EXPECT_EQ(answer_without_ppoll(EINTR, nullptr), 0); });
}

INSTANTIATE_TEST_SUITE_P(, aio_under_signals, testing::Values(0, SA_RESTART));

}  // namespace
