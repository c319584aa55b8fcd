// SPDX-License-Identifier: Apache-2.0
//
// io_getevents, io_pgetevents and signals. The tests check with sigpending(2) whether a signal has been taken, because
// a sanitizer may run the handler later.
#include "support/signal_handler.hpp"

#include <pthread.h>

#include <cerrno>
#include <csignal>

#include "aio_row.hpp"
#include "support/asleep.hpp"

namespace doorbell::test {
namespace {

/// Blocks SIGUSR1 in this thread for its lifetime.
class blocked_signal {
 public:
  blocked_signal() {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, &before_);
  }
  ~blocked_signal() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  blocked_signal(const blocked_signal&) = delete;
  blocked_signal& operator=(const blocked_signal&) = delete;

  static bool is_pending() {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGUSR1) == 1;
  }

 private:
  sigset_t before_{};
};

class aio_signal : public aio_row {
 protected:
  aio_signal() { sigemptyset(&unblocked_); }

  int get(long min) { return side().getevents(ctx_, min, 2, events_.data(), nullptr); }
  int get_unblocked(long min, timespec* timeout) {
    const aio::aio_sigset mask{&unblocked_, 8};
    return side().pgetevents(ctx_, min, 2, events_.data(), timeout, &mask);
  }
  void complete_one() {
    const auto efd = kernel_eventfd(0, 0);
    iocb_abi read = with_resfd(file_read(), efd.get());
    std::uint64_t signals = 0;
    ASSERT_EQ(submit(ctx_, read), 1);
    ASSERT_EQ(::read(efd.get(), &signals, sizeof signals), 8);
  }

  const aio_context_t ctx_ = new_context();
  std::array<io_event, 2> events_{};
  sigset_t unblocked_{};
};
ON_BOTH_SIDES(aio_signal);

TEST_P(aio_signal, interrupts_a_wait_that_has_no_event) {
  const signal_handler handler{0};
  int answer = 0;
  call_under_signals([&] { answer = get(1); });
  EXPECT_EQ(answer, -EINTR);
}

TEST_P(aio_signal, interrupts_a_wait_despite_sa_restart) {
  const signal_handler handler{SA_RESTART};
  int answer = 0;
  call_under_signals([&] { answer = get(1); });
  EXPECT_EQ(answer, -EINTR);
}

TEST_P(aio_signal, interrupts_a_wait_with_a_timeout) {
  const signal_handler handler{SA_RESTART};
  timespec timeout{.tv_sec = 1000, .tv_nsec = 0};
  int answer = 0;
  call_under_signals([&] { answer = side().getevents(ctx_, 1, 2, events_.data(), &timeout); });
  EXPECT_EQ(answer, -EINTR);
}

TEST_P(aio_signal, interrupted_wait_that_has_an_event_returns_the_count) {
  const signal_handler handler{0};
  complete_one();
  int answer = 0;
  call_under_signals([&] { answer = get(2); });
  EXPECT_EQ(answer, 1);
}

TEST_P(aio_signal, blocked_signal_does_not_interrupt) {
  const signal_handler handler{0};
  int answer = 0;
  {
    asleep waiter{[&] {
      const blocked_signal here;
      answer = get(1);
    }};
    pthread_kill(waiter.native_handle(), SIGUSR1);
    iocb_abi read = file_read();
    ASSERT_EQ(submit(ctx_, read), 1);
  }
  EXPECT_EQ(answer, 1);
}

TEST_P(aio_signal, io_pgetevents_waits_with_its_mask) {
  const signal_handler handler{SA_RESTART};
  int answer = 0;
  {
    const blocked_signal here;
    asleep waiter{[&] { answer = get_unblocked(1, nullptr); }};
    pthread_kill(waiter.native_handle(), SIGUSR1);
  }
  EXPECT_EQ(answer, -EINTR);
}

TEST_P(aio_signal, io_pgetevents_takes_a_signal_that_is_pending_before_the_wait) {
  const signal_handler handler{0};
  const blocked_signal here;
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_EQ(get_unblocked(1, nullptr), -EINTR);
  EXPECT_FALSE(blocked_signal::is_pending());
}

TEST_P(aio_signal, io_pgetevents_takes_a_pending_signal_without_waiting) {
  const signal_handler handler{0};
  const blocked_signal here;
  timespec no_wait{};
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_EQ(get_unblocked(1, &no_wait), -EINTR);
  EXPECT_FALSE(blocked_signal::is_pending());
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_EQ(get_unblocked(0, nullptr), -EINTR);
  EXPECT_FALSE(blocked_signal::is_pending());
}

TEST_P(aio_signal, io_pgetevents_takes_a_pending_signal_and_returns_events) {
  const signal_handler handler{0};
  const blocked_signal here;
  complete_one();
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_EQ(get_unblocked(1, nullptr), 1);
  EXPECT_FALSE(blocked_signal::is_pending());
}

TEST_P(aio_signal, io_pgetevents_restores_the_mask) {
  const signal_handler handler{0};
  const blocked_signal here;
  timespec no_wait{};
  EXPECT_EQ(get_unblocked(1, &no_wait), 0);
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_TRUE(blocked_signal::is_pending());
}

}  // namespace
}  // namespace doorbell::test
