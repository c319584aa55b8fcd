// SPDX-License-Identifier: Apache-2.0
//
// stream_file: position, order of outstanding operations, pipes, and cancellation, which is tested with pipes.
#include <doorbell/asio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "support/asleep.hpp"
#include "support/eventually.hpp"
#include "support/files.hpp"
#include "support/signal_handler.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::file_base;
using doorbell::asio::stream_file;

constexpr std::string_view alphabet = "abcdefghij";

class asio_stream_file : public testing::Test {
 protected:
  asio_stream_file() : file_{io_, doorbell::test::temporary_file(alphabet).release()} {}
  void run() {
    io_.restart();
    io_.run();
  }

  net::io_context io_;
  stream_file file_;
  std::array<char, 64> block_{};
};

TEST_F(asio_stream_file, outstanding_reads_return_consecutive_pieces_in_order) {
  std::string read;
  std::array<std::array<char, 3>, 5> pieces{};
  std::vector<error_code> ends;
  for (auto& each : pieces)
    file_.async_read_some(net::buffer(each), [&](error_code ec, std::size_t n) {
      read.append(each.data(), n);
      ends.push_back(ec);
    });
  run();
  EXPECT_EQ(read, alphabet);
  ASSERT_EQ(ends.size(), 5U);
  EXPECT_EQ(ends[4], net::error::eof);
  EXPECT_EQ(file_.seek(0, file_base::seek_cur), alphabet.size());
}

TEST_F(asio_stream_file, seeks_and_blocking_calls_share_the_position) {
  EXPECT_EQ(file_.seek(-3, file_base::seek_end), 7U);
  EXPECT_EQ(file_.read_some(net::buffer(block_, 2)), 2U);
  EXPECT_EQ(std::string_view(block_.data(), 2), "hi");
  EXPECT_EQ(file_.seek(-8, file_base::seek_cur), 1U);
  EXPECT_EQ(file_.write_some(net::buffer("B", 1)), 1U);
  std::size_t read = 0;
  file_.async_read_some(net::buffer(block_, 3), [&](error_code, std::size_t n) { read = n; });
  run();
  EXPECT_EQ(std::string_view(block_.data(), read), "cde");
  error_code ec;
  file_.seek(-1, file_base::seek_set, ec);
  EXPECT_EQ(ec, net::error::invalid_argument);
  const doorbell::base::unique_fd taken{file_.release()};
  EXPECT_EQ(::lseek(taken.get(), 0, SEEK_CUR), 5);
  file_.seek(0, file_base::seek_set, ec);
  EXPECT_EQ(ec, net::error::bad_descriptor);
}

TEST_F(asio_stream_file, writes_with_append_move_the_position_to_the_end) {
  const auto name = "/proc/self/fd/" + std::to_string(file_.native_handle());
  stream_file log{io_, name, file_base::write_only | file_base::append};
  for (int i = 0; i < 3; ++i) log.async_write_some(net::buffer("XY", 2), [](error_code, std::size_t) {});
  run();
  EXPECT_EQ(log.seek(0, file_base::seek_cur), alphabet.size() + 6);
  EXPECT_EQ(file_.size(), alphabet.size() + 6);
}

TEST_F(asio_stream_file, takes_part_in_composed_operations) {
  std::size_t written = 0;
  const std::string large(200'000, 'z');
  net::async_write(file_, net::buffer(large), [&](error_code, std::size_t n) { written = n; });
  run();
  EXPECT_EQ(written, large.size());
  file_.seek(0, file_base::seek_set);
  std::string read;
  error_code end;
  net::async_read(file_, net::dynamic_buffer(read), [&](error_code ec, std::size_t) { end = ec; });
  run();
  EXPECT_EQ(end, net::error::eof);
  EXPECT_EQ(read, large);
}

// Oracle: the first 64 buffers of a sequence that are not empty are transferred, each with its own bytes.
TEST_F(asio_stream_file, transfers_the_first_64_buffers_of_a_sequence_that_are_not_empty) {
  constexpr std::size_t many = 100;
  constexpr std::size_t most = 64;
  std::string bytes;
  for (std::size_t i = 0; i < many; ++i) bytes += static_cast<char>('!' + i % 90);
  std::vector<net::const_buffer> from(70);
  for (const auto& each : bytes) from.emplace_back(&each, 1);
  std::string room(many, '-');
  std::vector<net::mutable_buffer> to(70);
  for (auto& each : room) to.emplace_back(&each, 1);
  const auto expected = bytes.substr(0, most) + std::string(many - most, '-');
  for (const bool blocks : {false, true}) {
    SCOPED_TRACE(blocks ? "blocking" : "asynchronous");
    std::size_t written = 0;
    std::size_t read = 0;
    const auto into = [](std::size_t& count) { return [&count](error_code, std::size_t n) { count = n; }; };
    file_.resize(0);
    file_.seek(0, file_base::seek_set);
    blocks ? void(written = file_.write_some(from)) : file_.async_write_some(from, into(written));
    run();
    EXPECT_EQ(written, most);
    EXPECT_EQ(file_.size(), most);
    file_.seek(0, file_base::seek_set);
    file_.resize(many);
    std::fill(room.begin(), room.end(), '-');
    blocks ? void(read = file_.read_some(to)) : file_.async_read_some(to, into(read));
    run();
    EXPECT_EQ(read, most);
    EXPECT_EQ(room, expected);
  }
}

class asio_pipe : public testing::Test {
 protected:
  explicit asio_pipe(int flags = 0) {
    doorbell::test::pipe_ends ends;
    EXPECT_EQ(::fcntl(ends.read.get(), F_SETFL, flags), 0);
    reader_.assign(ends.read.release());
    write_ = std::move(ends.write);
  }

  void start(std::optional<error_code>& result) {
    reader_.async_read_some(net::buffer(block_), [&](error_code ec, std::size_t n) {
      result = ec;
      bytes_ = n;
    });
  }
  // Runs the loop until the operation has been submitted to the engine.
  void begin() { EXPECT_GT(io_.poll(), 0U); }

  net::io_context io_;
  stream_file reader_{io_};
  doorbell::base::unique_fd write_;
  std::array<char, 8> block_{};
  std::size_t bytes_ = 0;
};

TEST_F(asio_pipe, a_read_waits_for_bytes_and_ends_with_eof) {
  std::optional<error_code> result;
  start(result);
  begin();
  EXPECT_FALSE(result);
  ASSERT_EQ(::write(write_.get(), "bell", 4), 4);
  io_.run();
  EXPECT_EQ(result, error_code{});
  EXPECT_EQ(bytes_, 4U);
  write_.reset();
  io_.restart();
  start(result);
  io_.run();
  EXPECT_EQ(result, net::error::eof);
  error_code ec;
  reader_.seek(0, file_base::seek_set, ec);
  EXPECT_EQ(ec, boost::system::errc::invalid_seek);
}

// A turn (file_proactor::turn()) is still posted when the reactor starts another turn. By then, a read has
// ended whose handler is posted behind the first turn. Oracle: the handlers of a stream are called in the order of
// their reads, if one thread runs the loop.
TEST_F(asio_pipe, handlers_are_called_in_the_order_of_their_reads) {
  const auto bytes_in_pipe = [this] {
    int bytes = 0;
    EXPECT_EQ(::ioctl(write_.get(), FIONREAD, &bytes), 0);
    return bytes;
  };
  stream_file other{io_, doorbell::test::temporary_file(alphabet).release()};
  std::array<char, 1> unused{};
  for (int round = 0; round < 50; ++round) {
    std::string read;
    std::array<char, 3> rooms{};
    const auto add = [&](std::size_t which) {
      return [&, which](error_code ec, std::size_t bytes) {
        EXPECT_FALSE(ec);
        read.append(&rooms.at(which), bytes);
        if (which > 0) return;
        EXPECT_EQ(::write(write_.get(), "c", 1), 1);
        EXPECT_TRUE(doorbell::test::eventually([&] { return bytes_in_pipe() < 2; }));
      };
    };
    io_.restart();
    for (std::size_t i = 0; i < rooms.size(); ++i) reader_.async_read_some(net::buffer(&rooms.at(i), 1), add(i));
    begin();
    net::post(io_, [&] { other.async_read_some(net::buffer(unused), [](error_code, std::size_t) {}); });
    ASSERT_EQ(::write(write_.get(), "ab", 2), 2);
    EXPECT_TRUE(doorbell::test::eventually([&] { return bytes_in_pipe() == 1; }));
    io_.run();
    ASSERT_EQ(read, "abc");
  }
}

TEST_F(asio_pipe, cancel_ends_the_read_in_flight_and_the_read_behind_it) {
  std::optional<error_code> first;
  std::optional<error_code> second;
  start(first);
  begin();
  start(second);
  reader_.cancel();
  io_.run();
  EXPECT_EQ(first, net::error::operation_aborted);
  EXPECT_EQ(second, net::error::operation_aborted);
  EXPECT_TRUE(reader_.is_open());
}

TEST_F(asio_pipe, a_slot_ends_its_operation_and_no_other) {
  std::optional<error_code> first;
  std::optional<error_code> second;
  net::cancellation_signal signal;
  reader_.async_read_some(net::buffer(block_),
                          net::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::size_t) { first = ec; }));
  begin();
  std::array<char, 8> other{};
  reader_.async_read_some(net::buffer(other), [&](error_code ec, std::size_t) { second = ec; });
  signal.emit(net::cancellation_type::total);
  while (!first) io_.run_one();
  EXPECT_EQ(first, net::error::operation_aborted);
  EXPECT_FALSE(second);
  ASSERT_EQ(::write(write_.get(), "x", 1), 1);
  io_.run();
  EXPECT_EQ(second, error_code{});
  EXPECT_EQ(other[0], 'x');
  signal.emit(net::cancellation_type::total);
}

TEST_F(asio_pipe, a_slot_that_is_emitted_with_the_type_none_ends_nothing) {
  std::optional<error_code> result;
  net::cancellation_signal signal;
  reader_.async_read_some(net::buffer(block_),
                          net::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::size_t) { result = ec; }));
  begin();
  signal.emit(net::cancellation_type::none);
  ASSERT_EQ(::write(write_.get(), "x", 1), 1);
  io_.run();
  EXPECT_EQ(result, error_code{});
}

TEST_F(asio_pipe, a_slot_ends_an_operation_that_has_not_been_submitted) {
  std::optional<error_code> result;
  net::cancellation_signal signal;
  reader_.async_read_some(net::buffer(block_),
                          net::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::size_t) { result = ec; }));
  signal.emit(net::cancellation_type::terminal);
  io_.run();
  EXPECT_EQ(result, net::error::operation_aborted);
}

TEST_F(asio_pipe, close_ends_the_read_in_flight) {
  std::optional<error_code> result;
  start(result);
  begin();
  reader_.close();
  EXPECT_FALSE(reader_.is_open());
  io_.run();
  EXPECT_EQ(result, net::error::operation_aborted);
}

class asio_non_blocking_pipe : public asio_pipe {
 protected:
  asio_non_blocking_pipe() : asio_pipe{O_NONBLOCK} {}
};

TEST_F(asio_non_blocking_pipe, an_asynchronous_read_waits_for_bytes) {
  std::optional<error_code> result;
  start(result);
  begin();
  EXPECT_FALSE(result);
  ASSERT_EQ(::write(write_.get(), "bell", 4), 4);
  io_.run();
  EXPECT_EQ(result, error_code{});
  EXPECT_EQ(bytes_, 4U);
}

TEST_F(asio_non_blocking_pipe, a_signal_interrupts_a_blocking_read_that_waits) {
  const doorbell::test::signal_handler handled{SA_RESTART};
  error_code ec;
  doorbell::test::call_under_signals([&] { reader_.read_some(net::buffer(block_), ec); });
  EXPECT_EQ(ec, net::error::interrupted);
}

// Oracle: the thread sleeps in a blocking call until another thread has made bytes or room available, and then returns
// the result.
TEST_F(asio_non_blocking_pipe, a_blocking_read_waits_for_bytes_and_a_blocking_write_for_room) {
  error_code ec;
  std::size_t bytes = 0;
  doorbell::test::asleep reading{[&] { bytes = reader_.read_some(net::buffer(block_), ec); }};
  ASSERT_EQ(::write(write_.get(), "bell", 4), 4);
  reading.join();
  EXPECT_EQ(ec, error_code{});
  EXPECT_EQ(bytes, 4U);

  ASSERT_EQ(::fcntl(write_.get(), F_SETFL, O_NONBLOCK), 0);
  const std::string much(4096, 'x');
  while (::write(write_.get(), much.data(), much.size()) > 0) {
  }
  stream_file writer{io_, write_.release()};
  doorbell::test::asleep writing{[&] { bytes = writer.write_some(net::buffer(much), ec); }};
  std::string taken(much.size(), '\0');
  EXPECT_EQ(::read(reader_.native_handle(), taken.data(), taken.size()), static_cast<ssize_t>(taken.size()));
  writing.join();
  EXPECT_EQ(ec, error_code{});
  EXPECT_EQ(bytes, much.size());
}

TEST_F(asio_non_blocking_pipe, can_be_cancelled_while_it_waits) {
  std::optional<error_code> result;
  start(result);
  begin();
  EXPECT_FALSE(result);
  reader_.cancel();
  io_.run();
  EXPECT_EQ(result, net::error::operation_aborted);
}

}  // namespace
