// SPDX-License-Identifier: Apache-2.0
//
// A socket as a stream_file, with several operations outstanding in each direction.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::stream_file;

/// The two sockets of one connection, as streams of one loop.
class asio_duplex : public testing::TestWithParam<bool> {
 protected:
  asio_duplex() {
    std::array<int, 2> ends{};
    const int flags = GetParam() ? static_cast<int>(SOCK_NONBLOCK) : 0;
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ends.data()), 0);
    first_.emplace(io_, ends[0]);
    second_.emplace(io_, ends[1]);
  }

  struct side {
    std::string sent;
    std::string received;
    std::vector<std::size_t> order;  // in which the writes have completed
  };
  // Each read starts the next one, until it is cancelled.
  void keep_reading(stream_file& from, side& to) {
    const auto room = std::make_shared<std::string>(1000, '\0');
    from.async_read_some(net::buffer(*room), [&, room](error_code ec, std::size_t bytes) {
      EXPECT_TRUE(!ec || ec == net::error::operation_aborted) << ec;
      to.received.append(*room, 0, bytes);
      if (!ec) keep_reading(from, to);
    });
  }
  // Each write is small enough to be carried out as a whole.
  void write_several(stream_file& to, side& from) {
    for (std::size_t i = 0; i < several; ++i) {
      const auto text = std::make_shared<std::string>(size, static_cast<char>('a' + i % 26));
      from.sent += *text;
      to.async_write_some(net::buffer(*text), [&from, text, i](error_code ec, std::size_t bytes) {
        EXPECT_FALSE(ec);
        EXPECT_EQ(bytes, size);
        from.order.push_back(i);
      });
    }
  }

  /// Fills the socket until no write, of any size, completes without waiting.
  void fill() {
    const std::string much(4096, 'x');
    while (::send(first_->native_handle(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
    }
  }

  static constexpr std::size_t several = 300;
  static constexpr std::size_t size = 3000;
  static constexpr auto all = several * size;
  net::io_context io_;
  std::optional<stream_file> first_;
  std::optional<stream_file> second_;
};

// Oracle: each side receives the bytes that the other has sent, in order, although reads wait all the time and there is
// not room for all writes.
TEST_P(asio_duplex, carries_both_directions_in_order_with_reads_and_writes_outstanding) {
  side here;
  side there;
  for (int i = 0; i < 3; ++i) keep_reading(*first_, there);
  for (int i = 0; i < 3; ++i) keep_reading(*second_, here);
  io_.poll();
  write_several(*first_, here);
  write_several(*second_, there);
  const auto is_over = [](const side& each) { return each.received.size() == all && each.order.size() == several; };
  while (!is_over(here) || !is_over(there)) ASSERT_GT(io_.run_one(), 0U);
  first_->cancel();
  second_->cancel();
  io_.run();
  EXPECT_TRUE(here.received == here.sent);
  EXPECT_TRUE(there.received == there.sent);
  EXPECT_TRUE(std::ranges::is_sorted(here.order));
  EXPECT_TRUE(std::ranges::is_sorted(there.order));
}

// Oracle: a waiting read does not delay the completion of a write, and a waiting write does not delay a read.
TEST_P(asio_duplex, a_wait_in_one_direction_does_not_delay_the_other) {
  std::array<char, 1000> room{};
  int written = 0;
  first_->async_read_some(net::buffer(room), [](error_code ec, std::size_t) { EXPECT_TRUE(ec); });
  io_.poll();
  for (int i = 0; i < 2; ++i)
    first_->async_write_some(net::buffer("bell", 4), [&](error_code ec, std::size_t n) { written += ec ? 0 : int(n); });
  while (written < 8) ASSERT_GT(io_.run_one(), 0U);

  first_->cancel();
  io_.run();

  io_.restart();
  fill();
  error_code of_write;
  std::size_t read = 0;
  first_->async_write_some(net::buffer(room), [&](error_code ec, std::size_t) { of_write = ec; });
  io_.poll();
  EXPECT_EQ(::write(second_->native_handle(), "answer", 6), 6);
  first_->async_read_some(net::buffer(room), [&](error_code ec, std::size_t n) { read = ec ? 0 : n; });
  while (read == 0) ASSERT_GT(io_.run_one(), 0U);
  EXPECT_EQ(read, 6U);
  first_->cancel();
  io_.run();
  EXPECT_EQ(of_write, net::error::operation_aborted);
}

// Oracle: each operation completes once as cancelled, in either direction, whether it is in flight or queued behind
// another one.
TEST_P(asio_duplex, cancel_ends_waiting_operations_of_both_directions) {
  std::array<char, 1000> room{};
  std::vector<error_code> told;
  const auto tell = [&](error_code ec, std::size_t) { told.push_back(ec); };
  fill();
  for (int i = 0; i < 2; ++i) {
    first_->async_read_some(net::buffer(room), tell);
    first_->async_write_some(net::buffer(room), tell);
    io_.poll();
  }
  EXPECT_TRUE(told.empty());
  first_->cancel();
  io_.run();
  EXPECT_EQ(told, std::vector<error_code>(4, net::error::operation_aborted));
}

INSTANTIATE_TEST_SUITE_P(each, asio_duplex, testing::Values(false, true), [](const auto& sockets) {
  return std::string{sockets.param ? "of_sockets_that_do_not_block" : "of_sockets_that_block"};
});

}  // namespace
