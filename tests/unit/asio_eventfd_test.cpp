// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::eventfd in one thread: each test sets up a situation, and polls the loop until it has nothing left to
// do.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <doorbell/notifier.hpp>

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::error::eof;
using net::error::operation_aborted;

/// The arguments with which a handler was called.
struct outcome {
  error_code ec;
  std::uint64_t count = 0;
};
using outcomes = std::vector<outcome>;

auto into(outcomes& told) {
  return [&told](error_code ec, std::uint64_t count) { told.push_back({ec, count}); };
}
auto into(std::vector<error_code>& told) {
  return [&told](error_code ec) { told.push_back(ec); };
}

class asio_eventfd : public testing::Test {
 protected:
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  outcomes reads;
  std::vector<error_code> waits;
};

TEST_F(asio_eventfd, read_takes_a_count_that_was_signalled_before) {
  efd.signal(42);
  efd.async_read(into(reads));
  EXPECT_TRUE(reads.empty()) << "the handler was called inside the initiating function";
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_FALSE(reads[0].ec);
  EXPECT_EQ(reads[0].count, 42U);
  EXPECT_EQ(efd.context()->count(), 0U);
}

TEST_F(asio_eventfd, read_in_a_callback_of_the_same_eventfd_takes_the_count) {
  std::uint64_t taken = 0;
  error_code ec = eof;
  const doorbell::notifier reads_there{efd.handle(), [&](auto&) { taken = efd.read(ec); }};
  efd.signal(5);
  EXPECT_EQ(ec, error_code{});
  EXPECT_EQ(taken, 5U);
  EXPECT_EQ(efd.context()->count(), 0U);
}

TEST_F(asio_eventfd, read_waits_for_a_signal) {
  efd.async_read(into(reads));
  EXPECT_EQ(io.poll(), 0U);
  efd.signal(7);
  EXPECT_TRUE(reads.empty()) << "the handler was called in the signaller's stack";
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].count, 7U);
}

TEST_F(asio_eventfd, many_signals_before_the_loop_runs_wake_it_once) {
  efd.async_read(into(reads));
  for (int i = 0; i < 1000; ++i) efd.signal();
  EXPECT_EQ(io.poll(), 1U);
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].count, 1000U);
}

// Oracle: the loop is woken once: poll() calls only the six handlers.
TEST_F(asio_eventfd, operations_that_start_after_a_signal_do_not_wake_the_loop_again) {
  efd.async_wait(POLLIN, into(waits));
  efd.signal();
  for (int i = 0; i < 5; ++i) {
    efd.async_wait(POLLIN, into(waits));
    efd.signal();
  }
  EXPECT_EQ(io.poll(), 6U);
  EXPECT_EQ(waits.size(), 6U);
}

TEST_F(asio_eventfd, several_waiting_reads_complete_in_order) {
  outcomes second;
  efd.async_read(into(reads));
  efd.async_read(into(second));
  efd.signal(1);
  io.poll();
  EXPECT_EQ(reads.size(), 1U);
  EXPECT_TRUE(second.empty());
  efd.signal(2);
  io.poll();
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].count, 2U);
}

TEST_F(asio_eventfd, a_semaphore_completes_as_many_reads_as_its_count) {
  doorbell::asio::eventfd permits{io, doorbell::eventfd{2, EFD_SEMAPHORE}};
  for (int i = 0; i < 3; ++i) permits.async_read(into(reads));
  io.poll();
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_EQ(reads[0].count, 1U);
  EXPECT_EQ(reads[1].count, 1U);
  permits.signal();
  io.poll();
  EXPECT_EQ(reads.size(), 3U);
}

TEST_F(asio_eventfd, wait_does_not_change_the_count) {
  efd.async_wait(POLLIN, into(waits));
  EXPECT_EQ(io.poll(), 0U);
  efd.signal(3);
  io.run();
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_FALSE(waits[0]);
  EXPECT_EQ(efd.read(), 3U);
}

TEST_F(asio_eventfd, wait_is_level_triggered) {
  efd.signal();
  for (int i = 0; i < 2; ++i) efd.async_wait(POLLIN, into(waits));
  EXPECT_TRUE(waits.empty()) << "the handler was called inside the initiating function";
  io.run();
  EXPECT_EQ(waits.size(), 2U);
}

TEST_F(asio_eventfd, wait_for_pollout_ends_when_a_read_makes_room) {
  efd.handle().write(doorbell::eventfd::max);
  efd.async_wait(POLLOUT, into(waits));
  EXPECT_EQ(io.poll(), 0U);
  EXPECT_EQ(efd.read(), doorbell::eventfd::max);
  io.run();
  EXPECT_EQ(waits.size(), 1U);
}

TEST_F(asio_eventfd, wait_for_pollout_ends_immediately_although_a_read_waits) {
  efd.async_read(into(reads));
  efd.async_wait(POLLOUT, into(waits));
  io.poll();
  EXPECT_EQ(waits.size(), 1U);
  EXPECT_TRUE(reads.empty());
}

TEST_F(asio_eventfd, a_read_ends_an_earlier_wait_for_pollout) {
  efd.handle().write(doorbell::eventfd::max);
  efd.async_wait(POLLOUT, into(waits));
  efd.async_read(into(reads));
  io.run();
  EXPECT_EQ(waits.size(), 1U);
  EXPECT_EQ(reads.size(), 1U);
}

TEST_F(asio_eventfd, an_overflow_ends_a_wait_for_no_events) {
  efd.async_wait(0, into(waits));
  efd.signal(doorbell::eventfd::max);
  EXPECT_EQ(io.poll(), 0U);
  efd.signal();
  io.run();
  EXPECT_EQ(waits.size(), 1U);
}

TEST_F(asio_eventfd, a_write_of_0_ends_no_wait) {
  efd.async_wait(POLLIN, into(waits));
  efd.handle().write(0);
  EXPECT_EQ(io.poll(), 0U);
  EXPECT_TRUE(waits.empty());
}

TEST_F(asio_eventfd, cancel_ends_all_waiting_operations) {
  efd.async_read(into(reads));
  efd.async_wait(POLLIN, into(waits));
  efd.cancel();
  EXPECT_TRUE(reads.empty()) << "the handler was called inside cancel()";
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].ec, operation_aborted);
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0], operation_aborted);
}

TEST_F(asio_eventfd, cancel_after_the_signal_and_before_the_loop_loses_no_count) {
  efd.async_read(into(reads));
  efd.signal(5);
  efd.cancel();
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].ec, operation_aborted);
  EXPECT_EQ(efd.read(), 5U);
}

TEST_F(asio_eventfd, a_read_after_a_cancel_completes) {
  efd.async_read(into(reads));
  efd.cancel();
  efd.async_read(into(reads));
  efd.signal(9);
  io.run();
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_EQ(reads[1].count, 9U);
}

TEST_F(asio_eventfd, close_cancels_and_later_operations_are_refused) {
  efd.async_read(into(reads));
  efd.close();
  EXPECT_FALSE(efd.is_open());
  efd.async_read(into(reads));
  io.run();
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_EQ(reads[0].ec, operation_aborted);
  EXPECT_EQ(reads[1].ec, net::error::bad_descriptor);
  error_code ec;
  efd.signal(1, ec);
  EXPECT_EQ(ec, net::error::bad_descriptor);
  EXPECT_THROW(efd.cancel(), boost::system::system_error);
}

TEST_F(asio_eventfd, close_closes_the_handle_and_a_notifier_sees_the_hangup) {
  bool released = false;
  doorbell::notifier watch{efd.handle(), [](doorbell::eventfd_ctx&) {}, [&] { released = true; }};
  efd.close();
  EXPECT_TRUE(released);
}

TEST_F(asio_eventfd, an_object_created_from_a_closed_handle_is_closed) {
  doorbell::eventfd closed;
  closed.close();
  doorbell::asio::eventfd listener{io, std::as_const(closed)};
  EXPECT_FALSE(listener.is_open());
  listener.async_wait(POLLIN, into(waits));
  io.run();
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0], net::error::bad_descriptor);
}

TEST_F(asio_eventfd, the_last_close_of_a_handle_ends_operations_of_a_listener_with_eof) {
  doorbell::eventfd theirs;
  doorbell::asio::eventfd listener{io, theirs};
  listener.async_read(into(reads));
  listener.async_wait(POLLOUT | POLLIN, into(waits));
  io.poll();
  EXPECT_EQ(waits.size(), 1U) << "there is room";
  listener.async_wait(POLLIN, into(waits));
  theirs.close();
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].ec, eof);
  ASSERT_EQ(waits.size(), 2U);
  EXPECT_EQ(waits[1], eof);
}

TEST_F(asio_eventfd, an_operation_started_after_the_last_close_ends_with_eof) {
  doorbell::eventfd theirs;
  doorbell::asio::eventfd listener{io, theirs};
  theirs.close();
  listener.async_wait(POLLOUT, into(waits));
  io.run();
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0], eof);
}

TEST_F(asio_eventfd, a_count_that_is_left_at_the_last_close_is_read_before_eof) {
  doorbell::eventfd theirs;
  doorbell::asio::eventfd listener{io, theirs};
  for (int i = 0; i < 2; ++i) listener.async_read(into(reads));
  theirs.signal(4);
  theirs.close();
  io.run();
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_FALSE(reads[0].ec);
  EXPECT_EQ(reads[0].count, 4U);
  EXPECT_EQ(reads[1].ec, eof);
}

TEST_F(asio_eventfd, move_construction_takes_the_operations) {
  efd.async_read(into(reads));
  doorbell::asio::eventfd moved{std::move(efd)};
  EXPECT_FALSE(efd.is_open());
  moved.signal(6);
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].count, 6U);
  EXPECT_EQ(efd.get_executor(), moved.get_executor());
}

TEST_F(asio_eventfd, move_assignment_closes_the_previous_eventfd) {
  efd.async_read(into(reads));
  efd = doorbell::asio::eventfd{io};
  efd.async_read(into(reads));
  efd.signal(8);
  io.run();
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_EQ(reads[0].ec, operation_aborted);
  EXPECT_EQ(reads[1].count, 8U);
}

TEST_F(asio_eventfd, destruction_ends_waiting_operations) {
  std::optional<doorbell::asio::eventfd> short_lived{io};
  short_lived->async_read(into(reads));
  short_lived.reset();
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].ec, operation_aborted);
}

TEST_F(asio_eventfd, read_without_a_count_fails_with_would_block) {
  error_code ec;
  EXPECT_EQ(efd.read(ec), 0U);
  EXPECT_EQ(ec, net::error::would_block);
  efd.signal(2);
  EXPECT_EQ(efd.read(ec), 2U);
  EXPECT_FALSE(ec);
}

TEST_F(asio_eventfd, in_a_callback_operations_are_refused_and_signals_are_not) {
  doorbell::eventfd other;
  error_code cancelled;
  doorbell::notifier watch{other, [&](doorbell::eventfd_ctx&) {
                             efd.async_read(into(reads));
                             efd.cancel(cancelled);
                             efd.signal(3);
                           }};
  other.signal();
  io.run();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].ec, boost::system::errc::resource_deadlock_would_occur);
  EXPECT_EQ(cancelled, boost::system::errc::resource_deadlock_would_occur);
  EXPECT_EQ(efd.read(), 3U);
}

class asio_eventfd_slot : public asio_eventfd, public testing::WithParamInterface<net::cancellation_type_t> {};

TEST_P(asio_eventfd_slot, ends_its_operation_and_no_other) {
  net::cancellation_signal stop;
  efd.async_read(net::bind_cancellation_slot(stop.slot(), into(reads)));
  efd.async_wait(POLLIN, into(waits));
  stop.emit(GetParam());
  EXPECT_TRUE(reads.empty()) << "the handler was called inside emit()";
  io.poll();
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].ec, operation_aborted);
  EXPECT_TRUE(waits.empty());
  efd.signal();
  io.poll();
  EXPECT_EQ(waits.size(), 1U) << "the wakeup for the other operation was lost";
}

INSTANTIATE_TEST_SUITE_P(every_type, asio_eventfd_slot,
                         testing::Values(net::cancellation_type::terminal, net::cancellation_type::partial,
                                         net::cancellation_type::total));

TEST_F(asio_eventfd, a_slot_that_is_emitted_late_ends_nothing) {
  net::cancellation_signal stop;
  efd.async_read(net::bind_cancellation_slot(stop.slot(), into(reads)));
  efd.signal(1);
  io.poll();
  efd.async_read(into(reads));
  stop.emit(net::cancellation_type::terminal);
  EXPECT_EQ(io.poll(), 0U);
  EXPECT_EQ(reads.size(), 1U);
}

TEST_F(asio_eventfd, a_slot_outlives_the_object) {
  net::cancellation_signal stop;
  std::optional<doorbell::asio::eventfd> short_lived{io};
  short_lived->async_read(net::bind_cancellation_slot(stop.slot(), into(reads)));
  short_lived.reset();
  stop.emit(net::cancellation_type::terminal);
  io.run();
  EXPECT_EQ(reads.size(), 1U);
}

TEST_F(asio_eventfd, destruction_in_a_callback_of_another_aborts_the_program_with_a_message) {
  const auto destroy = [] {
    net::io_context loop;
    std::optional<doorbell::asio::eventfd> destroyed{loop};
    const doorbell::eventfd other;
    const doorbell::notifier watcher{other, [&](auto&) { destroyed.reset(); }};
    other.signal();
  };
  EXPECT_EXIT(destroy(), testing::KilledBySignal(SIGABRT), "doorbell: .* \\(docs/asio.md, Threads\\)\n");
}

}  // namespace
