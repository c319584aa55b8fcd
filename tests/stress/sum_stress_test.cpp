// SPDX-License-Identifier: Apache-2.0
//
// Sums: the counts read add up to the signals, for each way to read and signal, and for all ways concurrently.
#include <gtest/gtest.h>

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "support/fds.hpp"
#include "support/race.hpp"

namespace {

using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::budget;
using doorbell::test::give;
using doorbell::test::kernel_eventfd;
using doorbell::test::race;
using doorbell::test::readable;
using doorbell::test::run_disturbed;
using doorbell::test::stagger;
using doorbell::test::take;
using doorbell::test::unique_fd;
using namespace std::chrono_literals;

/// The number of counts still to be read. The thread that reads the last one, after the producers have ended, ends all
/// readers.
class goal {
 public:
  /// Counts 1 for each producer until it has ended.
  explicit goal(std::size_t producers) : left_{producers} {}

  /// Called before `n` is signalled.
  void expect(std::uint64_t n) { left_.fetch_add(n); }
  void producer_ended() { read(1); }

  void read(std::uint64_t n) {
    const auto before = left_.fetch_sub(n);
    EXPECT_LE(n, before) << "more was read than signalled";
    if (before != n) return;
    stop_.request_stop();
    give(ended_.get(), 1);
  }
  [[nodiscard]] bool reached() const { return left_ == 0; }
  [[nodiscard]] std::stop_token token() const { return stop_.get_token(); }
  /// Readable once the goal has been reached.
  [[nodiscard]] int fd() const { return ended_.get(); }

 private:
  std::atomic<std::uint64_t> left_;
  std::stop_source stop_;
  unique_fd ended_ = kernel_eventfd();
};

void read_until_stopped(const eventfd& efd, goal& sum) {
  while (!sum.reached()) {
    std::error_code ec;
    sum.read(efd.read(sum.token(), ec));
  }
}

void read_with_tiny_timeouts(const eventfd& efd, goal& sum) {
  stagger random{1};
  while (!sum.reached()) {
    std::error_code ec;
    sum.read(efd.read_for(std::chrono::microseconds{random.below(50)}, ec));
  }
}

void drain_again_and_again(const eventfd& efd, goal& sum) {
  while (!sum.reached())
    if (const auto n = efd.context()->drain(); n > 0) sum.read(n);
}

void drain_when_polled(const eventfd& efd, goal& sum) {
  const unique_fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  for (const int fd : {efd.poll_fd(), sum.fd()}) {
    epoll_event wanted{.events = EPOLLIN, .data = {}};
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &wanted);
  }
  while (!sum.reached()) {
    epoll_event event{};
    ::epoll_wait(epoll.get(), &event, 1, -1);
    sum.read(efd.context()->drain());
  }
}

void signal_and_write(const eventfd& efd, goal& sum, budget bursts, std::size_t seed) {
  stagger random{seed};
  while (bursts.next()) {
    const auto burst = 1 + random.below(4);
    sum.expect(2 * burst);
    for (std::size_t i = 0; i < burst; ++i) {
      efd.signal();
      efd.write(1);
    }
    // Sometimes lets the readers take everything, so that they fall asleep.
    if (random.below(2) == 0)
      while (efd.info().count > 0) std::this_thread::yield();
  }
  sum.producer_ended();
}

using reader = std::function<void(const eventfd&, goal&)>;

/// Runs two producers, and each of the readers in a thread.
void expect_exact_sum(int flags, const std::vector<reader>& readers) {
  constexpr std::size_t producers = 2;
  const eventfd efd(0, flags);
  goal sum{producers};
  run_disturbed(producers + readers.size(), [&](std::size_t index) {
    if (index < producers)
      signal_and_write(efd, sum, budget{20'000, 1s}, index);
    else
      readers.at(index - producers)(efd, sum);
  });
  EXPECT_TRUE(sum.reached());
  EXPECT_EQ(efd.info().count, 0U);
}

// Oracle of each test: the counts of the readers add up to the signals and writes, and nothing is left. (If a count is
// lost, a reader waits forever.)

TEST(sum_stress, blocking_reads) { expect_exact_sum(0, {read_until_stopped, read_until_stopped}); }

TEST(sum_stress, timed_reads) { expect_exact_sum(0, {read_with_tiny_timeouts, read_with_tiny_timeouts}); }

// Oracle: the counts taken add up to the counts added: no thread gets a count that another thread has taken.
TEST(sum_stress, drains_that_compete_for_each_signal) {
  const eventfd efd;
  std::array<std::uint64_t, 2> signalled{};
  std::array<std::uint64_t, 2> taken{};
  run_disturbed(2, [&](std::size_t index) {
    for (budget rounds{1'000'000}; rounds.next(); ++signalled.at(index)) {
      efd.signal();
      taken.at(index) += efd.context()->drain();
    }
  });
  EXPECT_EQ(taken[0] + taken[1] + efd.context()->drain(), signalled[0] + signalled[1]);
}

TEST(sum_stress, drains) { expect_exact_sum(0, {drain_again_and_again, drain_again_and_again}); }

TEST(sum_stress, drains_of_a_semaphore) {
  expect_exact_sum(EFD_SEMAPHORE, {drain_again_and_again, drain_again_and_again});
}

TEST(sum_stress, polled_descriptor) { expect_exact_sum(0, {drain_when_polled}); }

TEST(sum_stress, all_ways_to_read_concurrently) {
  expect_exact_sum(0, {read_until_stopped, read_with_tiny_timeouts, drain_when_polled});
}

TEST(sum_stress, all_ways_to_read_a_semaphore_concurrently) {
  expect_exact_sum(EFD_SEMAPHORE, {read_until_stopped, read_with_tiny_timeouts, drain_when_polled});
}

TEST(sum_stress, callbacks_that_drain_among_other_readers) {
  const auto drain_in_callbacks = [](const eventfd& efd, goal& sum) {
    const notifier watcher{efd, [&](auto& ctx) { sum.read(ctx.drain()); }};
    read_until_stopped(efd, sum);
  };
  expect_exact_sum(0, {drain_in_callbacks, read_with_tiny_timeouts});
}

/// Forwards to a kernel eventfd with these flags, and reads it. If the target blocks, a helper thread moves the counts;
/// otherwise each call on the source moves them, so the reader makes such calls, too.
reader forward_and_read_there(int flags) {
  return [flags](const eventfd& efd, goal& sum) {
    const auto there = kernel_eventfd(0, flags);
    efd.forward_to(there.get());
    while (!sum.reached()) {
      sum.read(take(there.get()));
      if ((flags & EFD_NONBLOCK) != 0)
        efd.write(0);  // moves counts that did not fit, or were added before forward_to()
    }
  };
}

// Oracle: the counts read from the target add up to the signals of the source.
TEST(sum_stress, forwarded) { expect_exact_sum(0, {forward_and_read_there(EFD_NONBLOCK)}); }

TEST(sum_stress, forwarded_by_a_helper_thread) { expect_exact_sum(0, {forward_and_read_there(0)}); }

// Oracle: the counts read from source and target add up to the signals, although forwarding begins and ends all the
// time.
TEST(sum_stress, forwarded_now_and_then_among_other_readers) {
  const auto read_there = [](const eventfd& efd, goal& sum) {
    const auto there = kernel_eventfd();
    while (!sum.reached()) {
      efd.forward_to(there.get());
      sum.read(take(there.get()));
      efd.stop_forwarding();
      sum.read(take(there.get()));
    }
  };
  expect_exact_sum(0, {read_there, read_with_tiny_timeouts, drain_when_polled});
}

// Oracle: after signals, drains and the creation of the descriptor in any order, the descriptor is readable exactly if
// there is a count, and there is only one descriptor.
TEST(sum_stress, a_descriptor_made_amid_signals_and_drains_agrees_with_the_count) {
  eventfd efd;
  std::array<int, 2> fds{};
  std::array<std::uint64_t, 2> taken{};
  race(
      4, budget{5'000},
      [&] {
        efd = eventfd(0, EFD_NONBLOCK);
        taken.fill(0);
      },
      [&](std::size_t index) {
        if (index < 2) {
          fds.at(index) = efd.poll_fd();
          return;
        }
        efd.signal();
        taken.at(index - 2) = efd.context()->drain();
        efd.signal();
      },
      [&] {
        EXPECT_EQ(fds[0], fds[1]);
        EXPECT_TRUE(readable(fds[0]));
        std::error_code ec;
        EXPECT_EQ(efd.read(ec) + taken[0] + taken[1], 4U);
        EXPECT_FALSE(readable(fds[0]));
      });
}

}  // namespace
