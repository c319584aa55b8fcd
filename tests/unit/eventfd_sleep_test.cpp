// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes that sleep: the events that end them, and the effect that they have had by then.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ratio>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "support/asleep.hpp"
#include "support/errors.hpp"
#include "support/signal_handler.hpp"

namespace {

using doorbell::eventfd;
using doorbell::test::asleep;
using doorbell::test::call_under_signals;
using doorbell::test::error_of;
using doorbell::test::signal_handler;
using doorbell::test::thrown_by;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

TEST(eventfd_sleep, a_sleeping_reader_gets_the_signalled_count) {
  const eventfd efd;
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read(); }};
  efd.signal(42);
  reader.join();
  EXPECT_EQ(got, 42U);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST(eventfd_sleep, a_sleeping_reader_gets_the_written_count) {
  const eventfd efd;
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read(); }};
  efd.write(42);
  reader.join();
  EXPECT_EQ(got, 42U);
}

TEST(eventfd_sleep, a_write_of_0_does_not_end_a_read) {
  const eventfd efd;
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read(); }};
  efd.write(0);
  efd.signal(1);
  reader.join();
  EXPECT_EQ(got, 1U);
}

// Oracle: the first reader gets the whole count; the second sleeps until the next signal.
TEST(eventfd_sleep, one_of_two_readers_gets_a_signal) {
  const eventfd efd;
  std::atomic<std::uint64_t> sum{0};
  asleep first{[&] { sum += efd.read(); }};
  asleep second{[&] { sum += efd.read(); }};
  efd.signal(3);
  first.join();
  EXPECT_EQ(sum, 3U);
  efd.signal(4);
  second.join();
  EXPECT_EQ(sum, 7U);
}

TEST(eventfd_sleep, readers_of_a_semaphore_share_a_signal) {
  const eventfd efd(0, EFD_SEMAPHORE);
  std::atomic<std::uint64_t> sum{0};
  asleep first{[&] { sum += efd.read(); }};
  asleep second{[&] { sum += efd.read(); }};
  efd.signal(3);
  first.join();
  second.join();
  EXPECT_EQ(sum, 2U);
  EXPECT_EQ(efd.info().count, 1U);
}

TEST(eventfd_sleep, a_writer_waits_for_room) {
  const eventfd efd;
  efd.write(eventfd::max);
  asleep writer{[&] { efd.write(5); }};
  EXPECT_EQ(efd.read(), eventfd::max);
  writer.join();
  EXPECT_EQ(efd.read(), 5U);
}

TEST(eventfd_sleep, a_writer_of_a_large_number_does_not_delay_one_of_a_small_number) {
  const eventfd efd(0, EFD_SEMAPHORE);
  efd.write(eventfd::max);
  asleep much{[&] { efd.write(100); }};
  asleep little{[&] { efd.write(1); }};
  EXPECT_EQ(efd.read(), 1U);
  little.join();
  EXPECT_EQ(efd.info().count, eventfd::max);
  efd.context()->drain();
  for (int i = 0; i < 99; ++i) efd.read();
  much.join();
  EXPECT_EQ(efd.info().count, eventfd::max);
}

TEST(eventfd_sleep, a_writer_that_gets_room_wakes_the_next_reader) {
  const eventfd efd;
  efd.write(eventfd::max);
  std::vector<std::jthread> readers;
  std::atomic<std::uint64_t> sum{0};
  asleep writer{[&] { efd.write(7); }};
  readers.emplace_back([&] { sum += efd.read() % eventfd::max; });
  readers.emplace_back([&] { sum += efd.read() % eventfd::max; });
  readers.clear();
  writer.join();
  EXPECT_EQ(sum, 7U);
}

TEST(eventfd_sleep, a_timed_read_takes_a_present_or_a_later_count) {
  const eventfd efd{3};
  EXPECT_EQ(efd.read_for(0s), 3U);
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read_for(1h); }};
  efd.signal(4);
  reader.join();
  EXPECT_EQ(got, 4U);
}

TEST(eventfd_sleep, a_timed_read_ends_at_its_deadline_and_not_before) {
  const eventfd efd;
  const auto deadline = steady_clock::now() + 5ms;
  EXPECT_EQ(error_of([&](auto& ec) { efd.read_until(deadline, ec); }), std::errc::timed_out);
  EXPECT_GE(steady_clock::now(), deadline);
  EXPECT_EQ(thrown_by([&] { efd.read_for(1ms); }), std::errc::timed_out);
  EXPECT_EQ(error_of([&](auto& ec) { efd.read_for(-1s, ec); }), std::errc::timed_out);
  EXPECT_EQ(error_of([&](auto& ec) { efd.read_until(steady_clock::time_point::min(), ec); }), std::errc::timed_out);
}

TEST(eventfd_sleep, a_timed_read_sleeps_although_the_eventfd_is_nonblocking) {
  const eventfd efd(0, EFD_NONBLOCK);
  EXPECT_EQ(error_of([&](auto& ec) { efd.read_for(1ms, ec); }), std::errc::timed_out);
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read_for(1h); }};
  efd.signal(4);
  reader.join();
  EXPECT_EQ(got, 4U);
}

TEST(eventfd_sleep, a_timeout_beyond_the_clock_never_ends) {
  const eventfd efd;
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read_for(std::chrono::hours::max()); }};
  efd.signal();
  reader.join();
  EXPECT_EQ(got, 1U);
}

/// Calls call(duration) for timeouts that have passed before they begin, of several types, down to the least of each.
template <class Call>
void for_each_timeout_that_is_over(Call call) {
  using namespace std::chrono;
  call(0s);
  call(-1ns);
  call(nanoseconds::min());
  call(microseconds::min());
  call(milliseconds::min());
  call(seconds::min());
  call(minutes::min());
  call(hours::min());
  call(hours{-24 * 365 * 300});
  call(duration<std::int64_t, std::exa>::min());
  call(duration<std::int64_t, std::exa>{0});
  call(duration<std::int64_t, std::ratio<1, 3>>::min());
  call(duration<double>{-1e300});
  call(duration<float>{-std::numeric_limits<float>::infinity()});
  call(duration<double>{std::numeric_limits<double>::quiet_NaN()});
}

// Oracle: each call returns without a wakeup, and reports that it has timed out.
TEST(eventfd_sleep, a_call_with_a_passed_timeout_does_not_sleep) {
  const eventfd efd;
  const eventfd filled;
  filled.write(eventfd::max);
  for_each_timeout_that_is_over([&](auto timeout) {
    EXPECT_EQ(error_of([&](auto& ec) { efd.read_for(timeout, ec); }), std::errc::timed_out);
    EXPECT_EQ(error_of([&](auto& ec) { filled.write_for(1, timeout, ec); }), std::errc::timed_out);
  });
  EXPECT_EQ(error_of([&](auto& ec) { efd.read_until(steady_clock::time_point::min(), ec); }), std::errc::timed_out);
}

TEST(eventfd_sleep, a_read_with_a_passed_timeout_takes_the_present_count) {
  for_each_timeout_that_is_over([](auto timeout) {
    const eventfd efd{3};
    EXPECT_EQ(efd.read_for(timeout), 3U);
    efd.write_for(2, timeout);
    EXPECT_EQ(efd.info().count, 2U);
  });
}

// Oracle: the sleeping thread gets the signalled count, so its wait had not ended.
TEST(eventfd_sleep, the_longest_timeout_of_each_type_sleeps) {
  const auto sleeps_for = [](auto timeout) {
    const eventfd efd;
    std::uint64_t got = 0;
    asleep reader{[&] { got = efd.read_for(timeout); }};
    efd.signal();
    reader.join();
    EXPECT_EQ(got, 1U);
  };
  using namespace std::chrono;
  sleeps_for(nanoseconds::max());
  sleeps_for(minutes::max());
  sleeps_for(hours{24 * 365 * 200});
  sleeps_for(duration<std::int64_t, std::ratio<1, 3>>{std::int64_t{3} * 86400 * 365 * 100});
  sleeps_for(duration<double>{std::numeric_limits<double>::infinity()});
  sleeps_for(duration<std::uint64_t>{UINT64_MAX});
  sleeps_for(duration<std::int64_t, std::exa>{1});
}

TEST(eventfd_sleep, a_read_that_timed_out_takes_nothing_later) {
  const eventfd efd;
  EXPECT_EQ(error_of([&](auto& ec) { efd.read_for(1ms, ec); }), std::errc::timed_out);
  efd.signal(9);
  EXPECT_EQ(efd.info().count, 9U);
}

TEST(eventfd_sleep, a_timed_write_ends_at_its_deadline_and_adds_nothing_later) {
  const eventfd efd;
  efd.write(eventfd::max);
  EXPECT_EQ(error_of([&](auto& ec) { efd.write_for(1, 1ms, ec); }), std::errc::timed_out);
  EXPECT_EQ(thrown_by([&] { efd.write_for(1, 1ms); }), std::errc::timed_out);
  EXPECT_EQ(efd.read(), eventfd::max);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST(eventfd_sleep, a_timed_write_completes_if_there_is_room_before_its_deadline) {
  const eventfd efd;
  efd.write_for(eventfd::max, 0s);
  asleep writer{[&] { efd.write_for(5, 1h); }};
  efd.read();
  writer.join();
  EXPECT_EQ(efd.read(), 5U);
}

TEST(eventfd_sleep, a_stop_request_ends_a_read) {
  const eventfd efd;
  std::stop_source stop;
  std::error_code ec;
  asleep reader{[&] { efd.read(stop.get_token(), ec); }};
  stop.request_stop();
  reader.join();
  EXPECT_EQ(ec, std::errc::operation_canceled);
  EXPECT_EQ(thrown_by([&] { efd.read(stop.get_token()); }), std::errc::operation_canceled);
}

TEST(eventfd_sleep, a_read_with_a_stop_token_gets_the_signalled_count) {
  const eventfd efd;
  std::stop_source stop;
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read(stop.get_token()); }};
  efd.signal(3);
  reader.join();
  EXPECT_EQ(got, 3U);
  EXPECT_FALSE(stop.stop_requested());
}

TEST(eventfd_sleep, a_stop_request_ends_a_write) {
  const eventfd efd;
  efd.write(eventfd::max);
  std::stop_source stop;
  std::error_code ec;
  asleep writer{[&] { efd.write(1, stop.get_token(), ec); }};
  stop.request_stop();
  writer.join();
  EXPECT_EQ(ec, std::errc::operation_canceled);
  EXPECT_EQ(thrown_by([&] { efd.write(1, stop.get_token()); }), std::errc::operation_canceled);
  EXPECT_EQ(efd.read(), eventfd::max);
}

TEST(eventfd_sleep, a_handler_without_restart_interrupts_a_read) {
  const signal_handler handler{0};
  const eventfd efd;
  std::error_code ec;
  call_under_signals([&] { efd.read(ec); });
  EXPECT_EQ(ec, std::errc::interrupted);
  efd.signal();
  EXPECT_EQ(efd.info().count, 1U);
}

TEST(eventfd_sleep, a_handler_without_restart_interrupts_a_write) {
  const signal_handler handler{0};
  const eventfd efd;
  efd.write(eventfd::max);
  std::error_code ec;
  call_under_signals([&] { efd.write(1, ec); });
  EXPECT_EQ(ec, std::errc::interrupted);
  EXPECT_EQ(efd.read(), eventfd::max);
}

TEST(eventfd_sleep, any_handler_interrupts_a_timed_read) {
  const signal_handler handler{SA_RESTART};
  const eventfd efd;
  std::error_code ec;
  call_under_signals([&] { efd.read_for(1h, ec); });
  EXPECT_EQ(ec, std::errc::interrupted);
}

// Oracle: the read returns the count, although handlers ran while it slept.
TEST(eventfd_sleep, a_handler_with_restart_does_not_interrupt_a_read) {
  const signal_handler handler{SA_RESTART};
  const eventfd efd;
  std::error_code ec;
  std::uint64_t got = 0;
  asleep reader{[&] { got = efd.read(ec); }};
  for (int i = 0; i < 10; ++i) {
    ::pthread_kill(reader.native_handle(), SIGUSR1);
    EXPECT_TRUE(reader.still_asleep());
  }
  efd.signal(6);
  reader.join();
  EXPECT_FALSE(ec);
  EXPECT_EQ(got, 6U);
}

}  // namespace
