// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::eventfd with each completion token, and in combinations of several operations.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::use_awaitable;
using net::error::operation_aborted;

class asio_token : public testing::Test {
 protected:
  /// Starts a coroutine. An exception that it throws fails the test.
  template <class Coroutine>
  void spawn(Coroutine coroutine) {
    net::co_spawn(io, std::move(coroutine), [](const std::exception_ptr& thrown) { EXPECT_EQ(thrown, nullptr); });
  }

  net::io_context io;
  doorbell::asio::eventfd efd{io};
  doorbell::asio::eventfd other{io};
};

TEST_F(asio_token, a_callback_passed_as_an_lvalue_is_copied) {
  const auto owned = std::make_shared<int>();
  int called = 0;
  auto callback = [owned, &called](error_code) { called += owned != nullptr ? 1 : 0; };
  efd.async_wait(POLLOUT, callback);
  efd.async_write(1, callback);
  io.run();
  EXPECT_EQ(called, 2) << "a call had a callback that was moved from";
}

TEST_F(asio_token, futures_have_the_count_or_the_error) {
  auto wait = efd.async_wait(POLLIN, net::use_future);
  auto read = efd.async_read(net::use_future);
  auto write = efd.async_write(11, net::use_future);
  auto cancelled = other.async_read(net::use_future);
  other.cancel();
  io.run();
  wait.get();
  write.get();
  EXPECT_EQ(read.get(), 11U);
  EXPECT_THROW(cancelled.get(), boost::system::system_error);
}

TEST_F(asio_token, deferred_starts_nothing_before_it_is_called) {
  auto read = efd.async_read(net::deferred);
  auto write = efd.async_write(5, net::deferred);
  EXPECT_EQ(io.poll(), 0U);
  io.restart();
  std::uint64_t told = 0;
  std::move(read)([&](error_code, std::uint64_t count) { told = count; });
  std::move(write)([](error_code) {});
  io.run();
  EXPECT_EQ(told, 5U);
}

TEST_F(asio_token, detached_operations_are_carried_out) {
  efd.async_write(3, net::detached);
  efd.async_read(net::detached);
  other.async_write(4, net::detached);
  io.run();
  EXPECT_EQ(efd.context()->count(), 0U);
  EXPECT_EQ(other.read(), 4U);
}

TEST_F(asio_token, a_coroutine_counts_until_the_last_handle_is_closed) {
  doorbell::eventfd theirs;
  doorbell::asio::eventfd listener{io, theirs};
  std::uint64_t sum = 0;
  error_code end;
  spawn([&]() -> net::awaitable<void> {
    try {
      for (;;) sum += co_await listener.async_read(use_awaitable);
    } catch (const boost::system::system_error& thrown) {
      end = thrown.code();
    }
  });
  for (std::uint64_t i = 1; i <= 10; ++i) {
    theirs.signal(i);
    io.poll();
  }
  theirs.close();
  io.run();
  EXPECT_EQ(sum, 55U);
  EXPECT_EQ(end, net::error::eof);
}

TEST_F(asio_token, a_coroutine_gets_the_error_as_a_value) {
  spawn([&]() -> net::awaitable<void> {
    constexpr auto told = net::as_tuple(use_awaitable);
    const auto [written] = co_await efd.async_write(9, told);
    EXPECT_FALSE(written);
    const auto [ec, count] = co_await efd.async_read(told);
    EXPECT_FALSE(ec);
    EXPECT_EQ(count, 9U);
    efd.close();
    const auto [refused, none] = co_await efd.async_read(told);
    EXPECT_EQ(refused, net::error::bad_descriptor);
    EXPECT_EQ(none, 0U);
  });
  EXPECT_GT(io.run(), 0U);
}

TEST_F(asio_token, the_default_token_may_be_bound_to_the_type) {
  using eventfd_type = net::use_awaitable_t<>::as_default_on_t<doorbell::asio::eventfd>;
  eventfd_type awaited{io};
  std::uint64_t told = 0;
  spawn([&]() -> net::awaitable<void> {
    co_await awaited.async_write(2);
    co_await awaited.async_wait(POLLIN);
    told = co_await awaited.async_read();
  });
  io.run();
  EXPECT_EQ(told, 2U);
}

TEST_F(asio_token, coroutines_that_read_one_eventfd_take_turns) {
  std::vector<std::size_t> turns;
  for (std::size_t who = 0; who < 3; ++who)
    spawn([&, who]() -> net::awaitable<void> {
      for (int i = 0; i < 2; ++i) {
        co_await efd.async_read(use_awaitable);
        turns.push_back(who);
      }
    });
  for (int i = 0; i < 6; ++i) {
    io.poll();
    efd.signal();
  }
  io.run();
  EXPECT_EQ(turns, (std::vector<std::size_t>{0, 1, 2, 0, 1, 2}));
}

TEST_F(asio_token, operator_or_ends_with_the_first_read_and_the_other_takes_no_count) {
  using namespace net::experimental::awaitable_operators;
  std::size_t first = 2;
  spawn([&]() -> net::awaitable<void> {
    const auto result = co_await (efd.async_read(use_awaitable) || other.async_read(use_awaitable));
    first = result.index();
    EXPECT_EQ(std::get<1>(result), 6U);
  });
  io.poll();
  other.signal(6);
  io.run();
  EXPECT_EQ(first, 1U);
  efd.signal(7);
  EXPECT_EQ(efd.read(), 7U);
}

TEST_F(asio_token, operator_and_waits_for_both_reads) {
  using namespace net::experimental::awaitable_operators;
  bool both = false;
  spawn([&]() -> net::awaitable<void> {
    const auto [one, two] = co_await (efd.async_read(use_awaitable) && other.async_read(use_awaitable));
    both = one == 1 && two == 2;
  });
  other.signal(2);
  io.poll();
  EXPECT_FALSE(both);
  efd.signal(1);
  io.run();
  EXPECT_TRUE(both);
}

TEST_F(asio_token, a_parallel_group_that_waits_for_one_ends_all_with_the_first) {
  std::array<std::size_t, 3> order{};
  std::array<error_code, 3> told;
  std::uint64_t read = 0;
  other.signal(doorbell::eventfd::max);
  net::experimental::make_parallel_group(efd.async_read(net::deferred), efd.async_wait(0, net::deferred),
                                         other.async_write(1, net::deferred))
      .async_wait(net::experimental::wait_for_one(), [&](std::array<std::size_t, 3> in, error_code ec0,
                                                         std::uint64_t count, error_code ec1, error_code ec2) {
        order = in;
        told = {ec0, ec1, ec2};
        read = count;
      });
  io.poll();
  efd.signal(8);
  io.run();
  EXPECT_EQ(order[0], 0U);
  EXPECT_EQ(read, 8U);
  EXPECT_EQ(told, (std::array<error_code, 3>{error_code{}, operation_aborted, operation_aborted}));
  EXPECT_EQ(other.read(), doorbell::eventfd::max);
}

class asio_token_cancelled : public asio_token, public testing::WithParamInterface<net::cancellation_type_t> {};

TEST_P(asio_token_cancelled, a_coroutine_that_allows_cancellation_gets_the_error_and_continues) {
  net::cancellation_signal stop;
  std::vector<error_code> told;
  auto three = [&]() -> net::awaitable<void> {
    constexpr auto as_value = net::as_tuple(use_awaitable);
    co_await net::this_coro::reset_cancellation_state(net::enable_total_cancellation());
    other.signal(doorbell::eventfd::max);
    told.push_back(std::get<0>(co_await efd.async_read(as_value)));
    co_await net::this_coro::reset_cancellation_state(net::enable_total_cancellation());
    told.push_back(std::get<0>(co_await efd.async_wait(POLLIN, as_value)));
    co_await net::this_coro::reset_cancellation_state(net::enable_total_cancellation());
    told.push_back(std::get<0>(co_await other.async_write(1, as_value)));
  };
  net::co_spawn(io, three, net::bind_cancellation_slot(stop.slot(), net::detached));
  for (std::size_t ended = 0; ended < 3; ++ended) {
    io.poll();
    EXPECT_EQ(told.size(), ended);
    stop.emit(GetParam());
  }
  io.run();
  EXPECT_EQ(told, std::vector<error_code>(3, operation_aborted));
}

INSTANTIATE_TEST_SUITE_P(every_type, asio_token_cancelled,
                         testing::Values(net::cancellation_type::terminal, net::cancellation_type::partial,
                                         net::cancellation_type::total));

}  // namespace
