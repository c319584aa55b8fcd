// SPDX-License-Identifier: Apache-2.0
//
// forward_to: a kernel eventfd that other threads and processes fill, or whose flags they change.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <fcntl.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <thread>

#include <doorbell/notifier.hpp>

#include "support/asleep.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/forwarded.hpp"

namespace {

using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::asleep;
using doorbell::test::eventually;
using doorbell::test::gets;
using doorbell::test::give;
using doorbell::test::kernel_eventfd;
using doorbell::test::take;
using doorbell::test::unique_fd;

/// Changes O_NONBLOCK of the open file. Each process that shares the file may do this.
void set_non_blocking(const unique_fd& fd, bool on) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  ASSERT_EQ(::fcntl(fd.get(), F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK), 0);
}

// Oracle: signals of this and of another thread return, although the target is full and blocks now; it was non-blocking
// at the last signal. The counts arrive when it is read.
TEST(forward, does_not_block_when_o_nonblock_is_cleared_between_signals) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  efd.signal();
  EXPECT_EQ(take(there.get()), 1U);
  set_non_blocking(there, false);
  EXPECT_TRUE(give(there.get(), eventfd::max));
  efd.signal();
  std::thread{[&] { efd.signal(2); }}.join();
  EXPECT_EQ(efd.info().count, 3U);
  EXPECT_EQ(take(there.get()), eventfd::max);
  EXPECT_TRUE(gets(there, 3));
  EXPECT_EQ(efd.info().count, 0U);
}

// Oracle: signals return, whatever a thread that shares the blocking eventfd does. The other thread fills the eventfd
// whenever it is empty, also between a check for room and a write, and reads it only when it sees that a signal has
// returned since.
TEST(forward, returns_although_another_thread_fills_the_blocking_target) {
  const eventfd efd;
  const auto there = kernel_eventfd(0, 0);
  efd.forward_to(there.get());
  efd.signal();
  EXPECT_TRUE(gets(there, 1));
  std::atomic<int> signals{0};
  std::atomic<bool> is_over{false};
  std::thread other{[&] {
    for (int seen = 0; !is_over;) {
      if (!doorbell::test::readable(there.get())) {
        set_non_blocking(there, true);  // otherwise the write would block this thread
        give(there.get(), eventfd::max);
        set_non_blocking(there, false);
      }
      if (const int now = signals; now != seen) {
        seen = now;
        take(there.get());
      }
    }
  }};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{2};
  while (std::chrono::steady_clock::now() < end) {
    efd.signal();
    ++signals;
  }
  is_over = true;
  other.join();
  EXPECT_GT(signals, 1);
  take(there.get());
}

// Oracle: the helper, which waits for room, releases the descriptor; the count stays in the eventfd.
TEST(forward, stopped_while_the_blocking_target_is_full_leaves_the_count_in_the_eventfd) {
  const eventfd efd;
  const auto there = kernel_eventfd(0, 0);
  EXPECT_TRUE(give(there.get(), eventfd::max));
  efd.forward_to(there.get());
  efd.signal(5);
  efd.stop_forwarding();
  EXPECT_EQ(take(there.get()), eventfd::max);
  EXPECT_EQ(efd.read(), 5U);
}

TEST(forward, of_a_count_that_does_not_fit_wakes_a_reader_of_the_eventfd) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  EXPECT_TRUE(give(there.get(), eventfd::max));
  efd.forward_to(there.get());
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read(); }};
  efd.signal(4);
  reader.join();
  EXPECT_EQ(got, 4U);
  EXPECT_EQ(take(there.get()), eventfd::max);
}

// Oracle: a notifier is called once for each signal, also if the count goes back into the eventfd because it does
// not fit.
TEST(forward, calls_a_notifier_once_for_each_signal) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  EXPECT_TRUE(give(there.get(), eventfd::max));
  efd.forward_to(there.get());
  int calls = 0;
  const notifier counts{efd, [&](auto&) { ++calls; }};
  for (int i = 0; i < 3; ++i) efd.signal();
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(efd.info().count, 3U);
}

// Oracle: the sum of the counts read from the target and left in the eventfd equals the sum of the signals, although
// another thread fills and reads the target and changes its O_NONBLOCK, and forwarding starts and stops.
TEST(forward, neither_loses_nor_duplicates_counts_while_others_fill_the_target) {
  constexpr std::uint64_t rounds = 500;
  const eventfd efd;
  const auto there = kernel_eventfd();
  std::atomic<bool> is_over{false};
  std::uint64_t sum = 0;  // what was read from the target, minus what the other thread wrote to it; may wrap
  std::thread other{[&] {
    for (std::uint64_t n = 0; !is_over; ++n) {
      set_non_blocking(there, true);
      if (give(there.get(), n % 2 == 0 ? eventfd::max - n : 7)) sum -= n % 2 == 0 ? eventfd::max - n : 7;
      set_non_blocking(there, n % 3 == 0);
      sum += take(there.get());
    }
  }};
  std::thread ender{[&] {
    while (!is_over) {
      efd.forward_to(there.get());
      std::this_thread::yield();
      efd.stop_forwarding();
    }
  }};
  std::array<std::thread, 2> signallers;
  for (auto& each : signallers)
    each = std::thread{[&] {
      for (std::uint64_t n = 0; n < rounds; ++n) efd.signal(1 + n % 2);
    }};
  for (auto& each : signallers) each.join();
  is_over = true;
  ender.join();
  other.join();
  // A write that was blocked when the threads ended arrives later.
  EXPECT_TRUE(eventually([&] {
    sum += take(there.get());
    return sum + efd.info().count == 3 * rounds;
  }));
}

// Oracle: the thread ends at pthread_testcancel(3), and not inside a signal; the eventfd works after that.
TEST(forward, and_poll_fd_have_no_cancellation_point) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  const eventfd polled;
  polled.poll_fd();
  std::atomic<bool> begun{false};
  std::thread signalling{[&] {
    for (;;) {
      efd.signal();
      polled.signal();
      polled.context()->drain();
      begun = true;
      pthread_testcancel();
    }
  }};
  while (!begun) std::this_thread::yield();
  EXPECT_EQ(::pthread_cancel(signalling.native_handle()), 0);
  signalling.join();
  take(there.get());
  efd.signal();
  EXPECT_EQ(take(there.get()), 1U);
}

}  // namespace
