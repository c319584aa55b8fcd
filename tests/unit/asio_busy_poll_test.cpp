// SPDX-License-Identifier: Apache-2.0
//
// busy_poll: a loop polls for completions instead of sleeping while file operations are in flight. A read of an empty
// pipe is in flight until the test writes to the pipe.
#include <doorbell/asio/busy_poll.hpp>
#include <doorbell/asio/random_access_file.hpp>
#include <doorbell/asio/stream_file.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "support/asleep.hpp"
#include "support/files.hpp"
#include "support/witness.hpp"

namespace {

namespace net = boost::asio;
using namespace std::chrono_literals;
using boost::system::error_code;
using doorbell::asio::busy_poll;
using doorbell::asio::random_access_file;
using doorbell::asio::set_busy_poll;
using doorbell::asio::stream_file;
using doorbell::test::witness;

class asio_busy_poll : public testing::Test {
 protected:
  asio_busy_poll() {
    io_.emplace();
    reader_.emplace(*io_, pipe_.read.release());
  }

  void begin_read() {
    reader_->async_read_some(net::buffer(&byte_, 1),
                             [this](error_code ec, std::size_t n) { read_ += ec ? 0 : static_cast<int>(n); });
  }
  void write() const { EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1); }
  // Oracle: the thread of the loop falls asleep with the read in flight, and a write then ends the read and the loop.
  void expect_it_sleeps() {
    doorbell::test::asleep loop{[this] { io_->run(); }};
    write();
    loop.join();
    EXPECT_EQ(read_, 1);
  }

  std::optional<net::io_context> io_;
  doorbell::test::pipe_ends pipe_;
  std::optional<stream_file> reader_;
  char byte_ = 0;
  int read_ = 0;
};

TEST_F(asio_busy_poll, is_off_at_first_and_can_be_set) {
  EXPECT_EQ(busy_poll(*io_), 0ns);
  set_busy_poll(*io_, 100us);
  EXPECT_EQ(busy_poll(*io_), 100us);
  set_busy_poll(reader_->get_executor(), -1ns);
  EXPECT_EQ(busy_poll(io_->get_executor()), -1ns);
  begin_read();
  EXPECT_EQ(io_->poll(), 1U) << "the loop polled again";
}

// Oracle: poll(), which does not sleep, calls the handler of a read that another thread completes after poll() has
// begun.
TEST_F(asio_busy_poll, polls_until_a_read_has_completed) {
  set_busy_poll(*io_, 1h);
  std::promise<void> begun;
  const std::jthread writer{[&] {
    begun.get_future().wait();
    std::this_thread::sleep_for(20ms);  // a loop that polls only once has returned by then
    write();
  }};
  begin_read();
  net::post(*io_, [&] { begun.set_value(); });
  io_->poll();
  EXPECT_EQ(read_, 1);
}

// Oracle: the read ends, although only the last of a thousand handlers, each posted by the one before, writes its byte.
TEST_F(asio_busy_poll, calls_other_handlers_between_two_polls) {
  set_busy_poll(*io_, 1h);
  begin_read();
  int left = 1000;
  const std::function<void()> next = [&] { --left > 0 ? net::post(*io_, next) : write(); };
  net::post(*io_, next);
  io_->run();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(read_, 1);
}

TEST_F(asio_busy_poll, ends_after_its_time_and_the_loop_sleeps) {
  set_busy_poll(*io_, 1ms);
  begin_read();
  expect_it_sleeps();
}

TEST_F(asio_busy_poll, can_be_switched_off_by_a_handler_while_it_polls) {
  set_busy_poll(*io_, 1h);
  begin_read();
  net::post(*io_, [this] { set_busy_poll(*io_, 0s); });
  expect_it_sleeps();
}

TEST_F(asio_busy_poll, ends_when_the_loop_is_stopped_and_continues_after_a_restart) {
  set_busy_poll(*io_, 1h);
  begin_read();
  net::post(*io_, [this] { io_->stop(); });
  io_->run();
  EXPECT_EQ(read_, 0);
  write();
  io_->restart();
  io_->run();
  EXPECT_EQ(read_, 1);
}

TEST_F(asio_busy_poll, does_not_prevent_the_destruction_of_its_context) {
  set_busy_poll(*io_, 1h);
  bool gone = false;
  reader_->async_read_some(net::buffer(&byte_, 1), [seen = witness{gone}](error_code, std::size_t) { FAIL(); });
  io_->run_one();
  reader_.reset();
  io_.reset();
  EXPECT_TRUE(gone);
}

/// Reads one letter `count` times; the handler of each read starts the next one.
class reads_in_a_row {
 public:
  reads_in_a_row(net::io_context& io, int count)
      : file_{io, doorbell::test::temporary_file("abcdef").release()}, left_{count} {}
  void start() {
    if (left_-- == 0) return;
    file_.async_read_some_at(3, net::buffer(&letter_, 1), [this](error_code ec, std::size_t n) {
      if (!ec && n == 1 && letter_ == 'd') ++good;
      start();
    });
  }
  int good = 0;

 private:
  random_access_file file_;
  int left_;
  char letter_ = 0;
};

// Oracle: each row reads its letter `length` times, and the threads return.
TEST_F(asio_busy_poll, serves_a_loop_of_several_threads) {
  constexpr int length = 500;
  set_busy_poll(*io_, 50us);
  std::vector<std::unique_ptr<reads_in_a_row>> rows;
  for (int i = 0; i < 4; ++i) {
    rows.push_back(std::make_unique<reads_in_a_row>(*io_, length));
    rows.back()->start();
  }
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([this] { io_->run(); });
  }
  for (const auto& each : rows) EXPECT_EQ(each->good, length);
}

}  // namespace
