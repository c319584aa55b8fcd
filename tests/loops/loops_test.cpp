// SPDX-License-Identifier: Apache-2.0
//
// An eventfd's poll_fd in the event loops of other libraries. The descriptor is readable while the count is above 0;
// the count itself is read from the eventfd.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "loop.hpp"
#include "support/asleep.hpp"

namespace {

using doorbell::test::asleep;
using doorbell::test::loop;
using doorbell::test::trigger;

constexpr std::uint64_t flood = 20'000;

struct kind {
  const char* name;
  trigger how;
  doorbell::test::make_loop make;
};
std::ostream& operator<<(std::ostream& out, const kind& one) { return out << one.name; }

const std::array kinds{
    kind{"poll", trigger::level, &doorbell::test::make_poll_loop},
    kind{"epoll", trigger::level, &doorbell::test::make_epoll_loop<trigger::level>},
    kind{"epoll_edge", trigger::edge, &doorbell::test::make_epoll_loop<trigger::edge>},
    kind{"libuv", trigger::level, &doorbell::test::make_libuv_loop},
    kind{"libevent", trigger::level, &doorbell::test::make_libevent_loop<trigger::level>},
    kind{"libevent_edge", trigger::edge, &doorbell::test::make_libevent_loop<trigger::edge>},
    kind{"glib", trigger::level, &doorbell::test::make_glib_loop},
};

class loops : public testing::TestWithParam<kind> {
 protected:
  /// Reads until the count is 0. @return the sum of the values read.
  static std::uint64_t read_all(const doorbell::eventfd& from) {
    std::error_code ec;
    std::uint64_t sum = 0;
    while (const auto count = from.read(ec)) sum += count;
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    return sum;
  }

  // Declared before the loop, so that the loop is destroyed first: the eventfds close their descriptors.
  const doorbell::eventfd efd{0, EFD_NONBLOCK};
  const doorbell::eventfd gone{0, EFD_NONBLOCK};
  const std::unique_ptr<loop> events = GetParam().make();
};

// Oracle: when the loop has received the hang-up of the last writer, it has read the sum of all signals.
TEST_P(loops, two_signalling_threads_are_counted_exactly_until_their_hang_up) {
  doorbell::eventfd writers;
  std::error_code ec;
  const doorbell::notifier moves_on{writers, [&](doorbell::eventfd_ctx& from) { efd.signal(from.drain(ec)); },
                                    [&] { gone.signal(); }};
  std::uint64_t sum = 0;
  events->watch(efd.poll_fd(), [&] { sum += read_all(efd); });
  events->watch(gone.poll_fd(), [&] {
    sum += read_all(efd);
    events->stop();
  });
  const auto signal = [](const doorbell::eventfd& to) {
    for (std::uint64_t i = 0; i < flood; ++i) to.signal();
  };
  const std::jthread first{signal, writers};
  const std::jthread second{signal, std::move(writers)};
  events->run();
  EXPECT_EQ(sum, 2 * flood);
}

// Oracle: the loop's thread sleeps in the kernel before a signal and after its callback, and there is one callback.
TEST_P(loops, loop_sleeps_in_the_kernel_while_the_count_is_0) {
  int calls = 0;
  doorbell::eventfd done;
  events->watch(efd.poll_fd(), [&] {
    ++calls;
    EXPECT_EQ(read_all(efd), 7U);
    done.signal();
  });
  events->watch(gone.poll_fd(), [&] { events->stop(); });
  asleep sleeps{[&] { events->run(); }};
  efd.signal(7);
  EXPECT_EQ(done.read(), 1U);
  EXPECT_TRUE(sleeps.still_asleep());
  gone.signal();
  sleeps.join();
  EXPECT_EQ(calls, 1);
}

// Oracle: a loop that reads once in each callback reads the sum of all signals, although another thread signals
// whenever the count has become 0. The signaller gives up if a count is not read for ten seconds: a change from 0 has
// then caused no edge.
TEST_P(loops, each_change_from_0_by_another_thread_causes_a_callback) {
  constexpr std::uint64_t changes = 5'000;
  std::uint64_t sum = 0;
  events->watch(efd.poll_fd(), [&] {
    std::error_code ec;
    sum += efd.read(ec);
    if (sum == changes) events->stop();
  });
  events->watch(gone.poll_fd(), [&] { events->stop(); });
  bool is_lost = false;
  std::jthread signaller{[&, to = efd.context()] {
    for (std::uint64_t i = 0; i < changes; ++i) {
      const auto too_late = std::chrono::steady_clock::now() + std::chrono::seconds{10};
      while (to->count() != 0 && !is_lost) {
        std::this_thread::yield();
        is_lost = std::chrono::steady_clock::now() > too_late;
      }
      if (is_lost) break;
      to->signal();
    }
    if (is_lost) gone.signal();
  }};
  events->run();
  signaller.join();
  EXPECT_FALSE(is_lost) << "after " << sum << " of " << changes;
  EXPECT_EQ(sum, changes);
}

TEST_P(loops, signals_before_the_loop_runs_cause_one_callback) {
  int calls = 0;
  std::uint64_t sum = 0;
  events->watch(efd.poll_fd(), [&] {
    ++calls;
    sum += read_all(efd);
  });
  for (int i = 0; i < 1000; ++i) efd.signal();
  events->run_ready();
  events->run_ready();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(sum, 1000U);
}

TEST_P(loops, unread_count_causes_further_callbacks_only_if_level_triggered) {
  const int again = GetParam().how == trigger::level ? 1 : 0;
  int calls = 0;
  events->watch(efd.poll_fd(), [&] { ++calls; });
  events->run_ready();
  EXPECT_EQ(calls, 0);
  efd.signal();
  events->run_ready();
  EXPECT_EQ(calls, 1);
  efd.signal();  // causes no edge: the count is above 0 already
  events->run_ready();
  EXPECT_EQ(calls, 1 + again);
  EXPECT_EQ(read_all(efd), 2U);
  events->run_ready();
  EXPECT_EQ(calls, 1 + again);
  efd.signal();
  events->run_ready();
  EXPECT_EQ(calls, 2 + again);
}

// A read of a semaphore takes 1. An edge-triggered loop therefore has to read a semaphore until its count is 0.
TEST_P(loops, partly_read_semaphore_causes_no_further_callback_if_edge_triggered) {
  const int again = GetParam().how == trigger::level ? 1 : 0;
  const doorbell::eventfd permits{0, EFD_NONBLOCK | EFD_SEMAPHORE};
  const auto other = GetParam().make();
  int calls = 0;
  other->watch(permits.poll_fd(), [&] {
    ++calls;
    EXPECT_EQ(permits.read(), 1U);
  });
  permits.signal(2);
  for (int i = 0; i < 3; ++i) other->run_ready();
  EXPECT_EQ(calls, 1 + again);
}

INSTANTIATE_TEST_SUITE_P(of, loops, testing::ValuesIn(kinds), [](const auto& tested) { return tested.param.name; });

}  // namespace
