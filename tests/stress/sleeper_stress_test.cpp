// SPDX-License-Identifier: Apache-2.0
//
// Sleeping reads and writes that a signal, a timeout and a stop request end concurrently.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>

#include <doorbell/eventfd.hpp>

#include "support/race.hpp"

namespace {

using doorbell::eventfd;
using doorbell::test::budget;
using doorbell::test::race;
using doorbell::test::run_disturbed;
using doorbell::test::stagger;

/// A timeout so short that it may expire before the waiting thread is asleep.
std::chrono::nanoseconds moment(stagger& random) { return std::chrono::nanoseconds{random.below(20'000)}; }

// Oracle: a read either has taken the count, or has timed out and left it: never both, never neither.
TEST(sleeper_stress, a_timed_read_against_a_signal) {
  eventfd bell;
  std::uint64_t got = 0;
  std::error_code ec;
  stagger random{7};
  race(
      2, budget{20'000},
      [&] {
        bell = eventfd(0, EFD_NONBLOCK);
        got = 0;
      },
      [&](std::size_t index) {
        if (index == 0)
          got = bell.read_for(moment(random), ec);
        else
          bell.signal(3);
      },
      [&] {
        std::error_code nothing;
        const auto left = bell.read(nothing);
        EXPECT_EQ(got, ec ? 0U : 3U);
        EXPECT_EQ(left, ec ? 3U : 0U);
        EXPECT_TRUE(!ec || ec == std::errc::timed_out || ec == std::errc::interrupted) << ec;
      });
}

// Oracle: as above, with a stop request instead of the timeout.
TEST(sleeper_stress, a_read_against_a_stop_request_and_a_signal) {
  eventfd bell;
  std::optional<std::stop_source> stop;
  std::uint64_t got = 0;
  std::error_code ec;
  race(
      3, budget{20'000},
      [&] {
        bell = eventfd{};
        stop.emplace();
      },
      [&](std::size_t index) {
        if (index == 0)
          got = bell.read(stop->get_token(), ec);
        else if (index == 1)
          stop->request_stop();
        else
          bell.signal(3);
      },
      [&] {
        EXPECT_EQ(got, ec ? 0U : 3U);
        EXPECT_EQ(bell.info().count, ec ? 3U : 0U);
        EXPECT_TRUE(!ec || ec == std::errc::operation_canceled) << ec;
      });
}

// Oracle: the write waits only for the read that takes the count. It adds its count, or times out and adds nothing.
TEST(sleeper_stress, a_timed_write_against_a_read) {
  eventfd bell;
  std::error_code ec;
  stagger random{8};
  race(
      2, budget{20'000},
      [&] {
        bell = eventfd{};
        bell.signal(eventfd::max);
      },
      [&](std::size_t index) {
        if (index == 0)
          bell.write_for(5, moment(random), ec);
        else
          EXPECT_EQ(bell.read(), eventfd::max);
      },
      [&] {
        EXPECT_EQ(bell.info().count, ec ? 0U : 5U);
        EXPECT_TRUE(!ec || ec == std::errc::timed_out || ec == std::errc::interrupted) << ec;
      });
}

// Oracle: of several readers that may time out concurrently, one takes a signal, or the count is left. No reader that
// times out loses it, and no two readers take it.
TEST(sleeper_stress, several_timed_reads_against_signals) {
  constexpr std::size_t readers = 3;
  eventfd bell;
  std::array<std::uint64_t, readers> got{};
  race(
      readers + 1, budget{10'000}, [&] { bell = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE); },
      [&](std::size_t index) {
        stagger random{index};
        std::error_code ec;
        if (index < readers)
          got.at(index) = bell.read_for(moment(random), ec);
        else
          for (int i = 0; i < 2; ++i) bell.signal();
      },
      [&] { EXPECT_EQ(got[0] + got[1] + got[2] + bell.info().count, 2U); });
}

// Oracle: one count for each read ends all reads, also the last ones: no reader sleeps while there is a count.
TEST(sleeper_stress, no_reader_is_left_asleep) {
  constexpr std::size_t readers = 3;
  const eventfd bell(0, EFD_SEMAPHORE);
  std::atomic<bool> ended{false};
  std::atomic<std::uint64_t> reads{0};
  std::uint64_t signals = 0;
  run_disturbed(readers + 1, [&](std::size_t index) {
    if (index < readers) {
      do reads += bell.read();
      while (!ended);
      return;
    }
    for (budget rounds{20'000}; rounds.next(); ++signals) {
      while (bell.info().count > 0) std::this_thread::yield();  // so that the threads fall asleep
      bell.signal();
    }
    ended = true;
    bell.signal(readers);
  });
  EXPECT_EQ(reads + bell.info().count, signals + readers);
}

// Oracle: enough room for all counts ends all writes: no writer sleeps while its count would fit.
TEST(sleeper_stress, no_writer_is_left_asleep) {
  constexpr std::size_t writers = 3;
  const eventfd bell(0, EFD_SEMAPHORE);
  bell.write(eventfd::max);
  std::atomic<bool> ended{false};
  std::atomic<std::uint64_t> writes{0};
  std::uint64_t reads = 0;
  run_disturbed(writers + 1, [&](std::size_t index) {
    if (index < writers) {
      do {
        bell.write(1);
        ++writes;
      } while (!ended);
      return;
    }
    for (budget rounds{20'000}; rounds.next(); ++reads) {
      while (bell.info().count < eventfd::max) std::this_thread::yield();  // so that the threads fall asleep
      bell.read();
    }
    ended = true;
    for (std::size_t i = 0; i < writers; ++i) bell.read();
  });
  EXPECT_EQ(eventfd::max - bell.info().count, reads + writers - writes);
}

// Oracle: a signal that arrives while a reader is about to sleep ends the read.
TEST(sleeper_stress, a_signal_is_not_missed_on_the_way_to_sleep) {
  const eventfd bell;
  std::atomic<std::uint64_t> reading{0};
  std::atomic<bool> ended{false};
  run_disturbed(2, [&](std::size_t index) {
    if (index == 0) {
      for (budget rounds{100'000}; rounds.next();) {
        ++reading;
        EXPECT_EQ(bell.read(), 1U);
      }
      ended = true;
      return;
    }
    stagger pass_some_time{index};
    for (std::uint64_t signalled = 0; !ended;) {
      if (reading == signalled) {
        std::this_thread::yield();
        continue;
      }
      pass_some_time();
      bell.signal();
      ++signalled;
    }
  });
  EXPECT_EQ(bell.info().count, 0U);
}

// Oracle: each turn that is passed through a pair of eventfds arrives.
TEST(sleeper_stress, two_threads_that_wake_each_other) {
  const std::array<eventfd, 2> bells;
  constexpr std::uint64_t last = 2;
  run_disturbed(2, [&](std::size_t index) {
    if (index == 0) {
      for (budget turns{20'000}; turns.next();) {
        bells[1].signal();
        EXPECT_EQ(bells[0].read(), 1U);
      }
      bells[1].signal(last);
    } else {
      while (bells[1].read() != last) bells[0].signal();
    }
  });
  EXPECT_EQ(bells[0].info().count, 0U);
}

}  // namespace
