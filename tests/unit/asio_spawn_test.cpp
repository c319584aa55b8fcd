// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::eventfd in stackful coroutines.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <cstdint>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/spawn.hpp>

namespace {

namespace net = boost::asio;
using boost::system::error_code;

TEST(asio_spawn, waits_reads_and_writes_return_when_they_are_done) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::uint64_t read = 0;
  net::spawn(
      io,
      [&](const net::yield_context& yield) {
        efd.async_wait(POLLIN, yield);
        read = efd.async_read(yield);
        efd.async_write(2, yield);
      },
      net::detached);
  EXPECT_EQ(io.poll(), 1U) << "poll() starts the coroutine, which then waits";
  efd.signal(5);
  io.run();
  EXPECT_EQ(read, 5U);
  EXPECT_EQ(efd.read(), 2U);
}

TEST(asio_spawn, errors_are_thrown_or_stored_in_the_error_code) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  efd.close();
  error_code thrown;
  error_code told;
  net::spawn(
      io,
      [&](const net::yield_context& yield) {
        efd.async_read(yield[told]);
        try {
          efd.async_read(yield);
        } catch (const boost::system::system_error& error) {
          thrown = error.code();
        }
      },
      net::detached);
  io.run();
  EXPECT_EQ(told, net::error::bad_descriptor);
  EXPECT_EQ(thrown, net::error::bad_descriptor);
}

TEST(asio_spawn, a_signal_to_the_coroutine_cancels_its_operation) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  net::cancellation_signal stop;
  error_code told;
  net::spawn(
      io, [&](const net::yield_context& yield) { efd.async_read(yield[told]); },
      net::bind_cancellation_slot(stop.slot(), net::detached));
  io.poll();
  stop.emit(net::cancellation_type::terminal);
  io.run();
  EXPECT_EQ(told, net::error::operation_aborted);
}

}  // namespace
