// SPDX-License-Identifier: Apache-2.0
//
// Writes of doorbell::asio::eventfd in one thread: each test sets up a situation, and polls the loop until it has
// nothing left to do.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <doorbell/notifier.hpp>

#include "support/asleep.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::error::eof;
using net::error::operation_aborted;

constexpr std::uint64_t max = doorbell::eventfd::max;

class asio_write : public testing::Test {
 protected:
  /// A handler that appends its error code to `told`.
  [[nodiscard]] auto tell() {
    return [this](error_code ec) { told.push_back(ec); };
  }
  void fill() { efd.signal(max); }

  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::vector<error_code> told;
};

TEST_F(asio_write, adds_a_count_that_fits) {
  efd.async_write(5, tell());
  EXPECT_TRUE(told.empty()) << "the handler was called inside the initiating function";
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_FALSE(told[0]);
  EXPECT_EQ(efd.read(), 5U);
}

TEST_F(asio_write, waits_until_its_count_fits) {
  efd.signal(max - 4);
  efd.async_write(5, tell());
  EXPECT_EQ(io.poll(), 0U) << "POLLOUT says that 1 would fit, and not that 5 would";
  EXPECT_EQ(efd.read(), max - 4);
  io.run();
  EXPECT_EQ(told.size(), 1U);
  EXPECT_EQ(efd.read(), 5U);
}

TEST_F(asio_write, waits_for_as_many_reads_of_a_semaphore_as_make_room) {
  doorbell::asio::eventfd permits{io, doorbell::eventfd{0, EFD_SEMAPHORE}};
  permits.signal(max);
  permits.async_write(2, tell());
  permits.read();
  EXPECT_EQ(io.poll(), 0U);
  permits.read();
  io.run();
  EXPECT_EQ(told.size(), 1U);
  EXPECT_EQ(permits.context()->count(), max);
}

TEST_F(asio_write, of_the_largest_count_waits_until_the_count_is_0) {
  efd.signal();
  efd.async_write(max, tell());
  EXPECT_EQ(io.poll(), 0U);
  efd.read();
  io.run();
  EXPECT_EQ(told.size(), 1U);
  EXPECT_EQ(efd.read(), max);
}

TEST_F(asio_write, of_a_count_that_never_fits_is_refused) {
  efd.async_write(max + 1, tell());
  EXPECT_TRUE(told.empty()) << "the handler was called inside the initiating function";
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], net::error::invalid_argument);
  EXPECT_EQ(efd.context()->count(), 0U);
}

TEST_F(asio_write, of_0_completes_when_full_and_waits_after_an_overflow) {
  fill();
  efd.async_write(0, tell());
  io.poll();
  EXPECT_EQ(told.size(), 1U);
  io.restart();
  efd.signal();
  efd.async_write(0, tell());
  EXPECT_EQ(io.poll(), 0U) << "there is no room after an overflow";
  efd.read();
  io.run();
  EXPECT_EQ(told.size(), 2U);
}

TEST_F(asio_write, each_write_notifies_waiters_once_as_a_signal_does) {
  int notified = 0;
  doorbell::notifier watch{efd.handle(), [&](doorbell::eventfd_ctx&) { ++notified; }};
  fill();
  notified = 0;
  for (int i = 0; i < 3; ++i) efd.async_write(1, tell());
  io.poll();
  EXPECT_EQ(notified, 0);
  efd.read();
  io.run();
  EXPECT_EQ(told.size(), 3U);
  EXPECT_EQ(notified, 3);
}

TEST_F(asio_write, completes_a_read_that_waits) {
  std::uint64_t read = 0;
  efd.async_read([&](error_code, std::uint64_t count) { read = count; });
  io.poll();
  efd.async_write(7, tell());
  io.run();
  EXPECT_EQ(read, 7U);
}

TEST_F(asio_write, wakes_a_thread_that_sleeps_in_a_read) {
  std::uint64_t read = 0;
  {
    const doorbell::test::asleep reader{[&] { read = efd.handle().read(); }};
    efd.async_write(3, tell());
    io.run();
  }
  EXPECT_EQ(read, 3U);
}

TEST_F(asio_write, writes_and_reads_of_one_eventfd_take_turns) {
  fill();
  std::vector<std::uint64_t> read;
  for (int i = 0; i < 3; ++i) efd.async_write(max, tell());
  for (int i = 0; i < 4; ++i) efd.async_read([&](error_code, std::uint64_t count) { read.push_back(count); });
  io.run();
  EXPECT_EQ(told.size(), 3U);
  EXPECT_EQ(read, (std::vector<std::uint64_t>(4, max)));
}

class asio_writes : public asio_write {
 protected:
  /// Starts a write whose handler appends `name` to `done`.
  void begin(std::uint64_t n, int name) {
    efd.async_write(n, [this, name](error_code) { done.push_back(name); });
  }
  std::vector<int> done;
};

TEST_F(asio_writes, are_carried_out_in_the_order_of_their_start) {
  efd.signal(max - 10);
  begin(20, 1);
  begin(10, 2);
  begin(1, 3);
  efd.async_wait(POLLOUT, tell());  // makes the loop check the queue
  io.poll();
  EXPECT_EQ(told.size(), 1U);
  EXPECT_TRUE(done.empty()) << "a small write overtook a large one";
  efd.read();
  io.run();
  EXPECT_EQ(done, (std::vector{1, 2, 3}));
  EXPECT_EQ(efd.read(), 31U);
}

TEST_F(asio_writes, started_later_do_not_overtake_one_that_waits) {
  efd.signal(max - 10);
  begin(20, 1);
  io.poll();
  begin(1, 2);
  EXPECT_EQ(io.poll(), 0U);
  efd.read();
  io.run();
  EXPECT_EQ(done, (std::vector{1, 2}));
}

TEST_F(asio_writes, behind_one_that_is_cancelled_need_no_wakeup) {
  net::cancellation_signal stop;
  efd.signal(max - 10);
  efd.async_write(20, net::bind_cancellation_slot(stop.slot(), tell()));
  begin(10, 2);
  EXPECT_EQ(io.poll(), 0U);
  stop.emit(net::cancellation_type::total);
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], operation_aborted);
  EXPECT_EQ(done, (std::vector{2}));
}

TEST_F(asio_writes, behind_one_that_is_cancelled_wait_for_room_of_their_own) {
  net::cancellation_signal stop;
  efd.signal(max - 1);
  efd.async_write(20, net::bind_cancellation_slot(stop.slot(), tell()));
  begin(10, 2);
  stop.emit(net::cancellation_type::terminal);
  io.poll();
  EXPECT_TRUE(done.empty());
  begin(1, 3);
  EXPECT_EQ(io.poll(), 0U);
  efd.read();
  io.run();
  EXPECT_EQ(done, (std::vector{2, 3}));
}

TEST_F(asio_write, cancelled_while_it_waits_adds_no_count) {
  fill();
  efd.async_write(1, tell());
  io.poll();
  efd.cancel();
  EXPECT_TRUE(told.empty()) << "the handler was called inside cancel()";
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], operation_aborted);
  EXPECT_EQ(efd.read(), max);
}

TEST_F(asio_write, ends_with_close_and_is_refused_after_it) {
  fill();
  efd.async_write(1, tell());
  efd.close();
  efd.async_write(max + 1, tell());
  io.run();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0], operation_aborted);
  EXPECT_EQ(told[1], net::error::bad_descriptor) << "as with write(2), the descriptor is checked before the count";
}

TEST_F(asio_write, waiting_for_room_ends_with_eof_at_the_last_close_and_adds_no_count) {
  doorbell::eventfd theirs;
  doorbell::asio::eventfd writer{io, theirs};
  theirs.write(max);
  writer.async_write(1, tell());
  io.poll();
  theirs.close();
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], eof);
  EXPECT_EQ(writer.read(), max);
}

TEST_F(asio_write, after_the_last_close_fails_with_eof_although_there_is_room) {
  doorbell::eventfd theirs;
  doorbell::asio::eventfd writer{io, theirs};
  theirs.close();
  writer.async_write(1, tell());
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], eof);
  EXPECT_EQ(writer.context()->count(), 0U);
}

TEST_F(asio_write, in_a_callback_is_refused) {
  doorbell::eventfd other;
  doorbell::notifier watch{other, [&](doorbell::eventfd_ctx&) { efd.async_write(1, tell()); }};
  other.signal();
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], boost::system::errc::resource_deadlock_would_occur);
}

TEST_F(asio_write, moves_along_with_its_object_and_ends_with_it) {
  fill();
  efd.async_write(1, tell());
  std::optional<doorbell::asio::eventfd> moved{std::move(efd)};
  EXPECT_EQ(io.poll(), 0U);
  moved.reset();
  io.run();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], operation_aborted);
}

}  // namespace
