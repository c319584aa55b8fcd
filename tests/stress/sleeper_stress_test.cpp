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

// Oracle: exactly one of these holds for a read: it has taken the count, or it has timed out and left the count.
TEST(sleeper_stress, a_timed_read_against_a_signal) {
  eventfd efd;
  std::uint64_t got = 0;
  std::error_code ec;
  stagger random{7};
  race(
      2, budget{20'000},
      [&] {
        efd = eventfd(0, EFD_NONBLOCK);
        got = 0;
      },
      [&](std::size_t index) {
        if (index == 0)
          got = efd.read_for(moment(random), ec);
        else
          efd.signal(3);
      },
      [&] {
        std::error_code nothing;
        const auto left = efd.read(nothing);
        EXPECT_EQ(got, ec ? 0U : 3U);
        EXPECT_EQ(left, ec ? 3U : 0U);
        EXPECT_TRUE(!ec || ec == std::errc::timed_out || ec == std::errc::interrupted) << ec;
      });
}

// Oracle: as above, with a stop request instead of the timeout.
TEST(sleeper_stress, a_read_against_a_stop_request_and_a_signal) {
  eventfd efd;
  std::optional<std::stop_source> stop;
  std::uint64_t got = 0;
  std::error_code ec;
  race(
      3, budget{20'000},
      [&] {
        efd = eventfd{};
        stop.emplace();
      },
      [&](std::size_t index) {
        if (index == 0)
          got = efd.read(stop->get_token(), ec);
        else if (index == 1)
          stop->request_stop();
        else
          efd.signal(3);
      },
      [&] {
        EXPECT_EQ(got, ec ? 0U : 3U);
        EXPECT_EQ(efd.info().count, ec ? 3U : 0U);
        EXPECT_TRUE(!ec || ec == std::errc::operation_canceled) << ec;
      });
}

// Oracle: the write waits only for the read that takes the count. It adds its count, or times out and adds nothing.
TEST(sleeper_stress, a_timed_write_against_a_read) {
  eventfd efd;
  std::error_code ec;
  stagger random{8};
  race(
      2, budget{20'000},
      [&] {
        efd = eventfd{};
        efd.signal(eventfd::max);
      },
      [&](std::size_t index) {
        if (index == 0)
          efd.write_for(5, moment(random), ec);
        else
          EXPECT_EQ(efd.read(), eventfd::max);
      },
      [&] {
        EXPECT_EQ(efd.info().count, ec ? 0U : 5U);
        EXPECT_TRUE(!ec || ec == std::errc::timed_out || ec == std::errc::interrupted) << ec;
      });
}

// Oracle: of several readers that may time out concurrently, one takes a signal, or the count is left. No reader that
// times out loses it, and no two readers take it.
TEST(sleeper_stress, several_timed_reads_against_signals) {
  constexpr std::size_t readers = 3;
  eventfd efd;
  std::array<std::uint64_t, readers> got{};
  race(
      readers + 1, budget{10'000}, [&] { efd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE); },
      [&](std::size_t index) {
        stagger random{index};
        std::error_code ec;
        if (index < readers)
          got.at(index) = efd.read_for(moment(random), ec);
        else
          for (int i = 0; i < 2; ++i) efd.signal();
      },
      [&] { EXPECT_EQ(got[0] + got[1] + got[2] + efd.info().count, 2U); });
}

// Oracle: one count for each read ends all reads, also the last ones: no reader sleeps while there is a count.
TEST(sleeper_stress, no_reader_is_left_asleep) {
  constexpr std::size_t readers = 3;
  const eventfd efd(0, EFD_SEMAPHORE);
  std::atomic<bool> ended{false};
  std::atomic<std::uint64_t> reads{0};
  std::uint64_t signals = 0;
  run_disturbed(readers + 1, [&](std::size_t index) {
    if (index < readers) {
      do reads += efd.read();
      while (!ended);
      return;
    }
    for (budget rounds{20'000}; rounds.next(); ++signals) {
      while (efd.info().count > 0) std::this_thread::yield();  // so that the threads fall asleep
      efd.signal();
    }
    ended = true;
    efd.signal(readers);
  });
  EXPECT_EQ(reads + efd.info().count, signals + readers);
}

// Oracle: enough room for all counts ends all writes: no writer sleeps while its count would fit.
TEST(sleeper_stress, no_writer_is_left_asleep) {
  constexpr std::size_t writers = 3;
  const eventfd efd(0, EFD_SEMAPHORE);
  efd.write(eventfd::max);
  std::atomic<bool> ended{false};
  std::atomic<std::uint64_t> writes{0};
  std::uint64_t reads = 0;
  run_disturbed(writers + 1, [&](std::size_t index) {
    if (index < writers) {
      do {
        efd.write(1);
        ++writes;
      } while (!ended);
      return;
    }
    for (budget rounds{20'000}; rounds.next(); ++reads) {
      while (efd.info().count < eventfd::max) std::this_thread::yield();  // so that the threads fall asleep
      efd.read();
    }
    ended = true;
    for (std::size_t i = 0; i < writers; ++i) efd.read();
  });
  EXPECT_EQ(eventfd::max - efd.info().count, reads + writers - writes);
}

// Oracle: a signal that arrives while a reader is about to sleep ends the read.
TEST(sleeper_stress, a_signal_is_not_missed_on_the_way_to_sleep) {
  const eventfd efd;
  std::atomic<std::uint64_t> reading{0};
  std::atomic<bool> ended{false};
  run_disturbed(2, [&](std::size_t index) {
    if (index == 0) {
      for (budget rounds{100'000}; rounds.next();) {
        ++reading;
        EXPECT_EQ(efd.read(), 1U);
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
      efd.signal();
      ++signalled;
    }
  });
  EXPECT_EQ(efd.info().count, 0U);
}

// Oracle: each turn that is passed through a pair of eventfds arrives.
TEST(sleeper_stress, two_threads_that_wake_each_other) {
  const std::array<eventfd, 2> efds;
  constexpr std::uint64_t last = 2;
  run_disturbed(2, [&](std::size_t index) {
    if (index == 0) {
      for (budget turns{20'000}; turns.next();) {
        efds[1].signal();
        EXPECT_EQ(efds[0].read(), 1U);
      }
      efds[1].signal(last);
    } else {
      while (efds[1].read() != last) efds[0].signal();
    }
  });
  EXPECT_EQ(efds[0].info().count, 0U);
}

}  // namespace
