// SPDX-License-Identifier: Apache-2.0
//
// busy_poll: what a loop does with its time while files have something in flight. A read of an empty pipe is in flight until somebody
// writes, so the tests say when it ends.
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
  // Oracle: the thread of the loop falls asleep with the read in flight, and what is written then ends both.
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

TEST_F(asio_busy_poll, is_off_at_first_and_what_it_was_set_to) {
  EXPECT_EQ(busy_poll(*io_), 0ns);
  set_busy_poll(*io_, 100us);
  EXPECT_EQ(busy_poll(*io_), 100us);
  set_busy_poll(reader_->get_executor(), -1ns);
  EXPECT_EQ(busy_poll(io_->get_executor()), -1ns);
  begin_read();
  EXPECT_EQ(io_->poll(), 1U) << "it looked again";
}

// Oracle: poll(), which does not sleep, calls the handler of a read that another thread has ended only after poll() began.
TEST_F(asio_busy_poll, looks_until_there_is_something) {
  set_busy_poll(*io_, 1h);
  std::promise<void> begun;
  const std::jthread writer{[&] {
    begun.get_future().wait();
    std::this_thread::sleep_for(20ms);  // a loop that does not look again is over by then
    write();
  }};
  begin_read();
  net::post(*io_, [&] { begun.set_value(); });
  io_->poll();
  EXPECT_EQ(read_, 1);
}

// Oracle: the read ends, though it is the last of a thousand handlers, each posted by the one before, that writes its byte.
TEST_F(asio_busy_poll, calls_other_handlers_between_two_looks) {
  set_busy_poll(*io_, 1h);
  begin_read();
  int left = 1000;
  const std::function<void()> next = [&] { --left > 0 ? net::post(*io_, next) : write(); };
  net::post(*io_, next);
  io_->run();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(read_, 1);
}

TEST_F(asio_busy_poll, is_over_after_its_time) {
  set_busy_poll(*io_, 1ms);
  begin_read();
  expect_it_sleeps();
}

TEST_F(asio_busy_poll, can_be_switched_off_by_a_handler_while_it_looks) {
  set_busy_poll(*io_, 1h);
  begin_read();
  net::post(*io_, [this] { set_busy_poll(*io_, 0s); });
  expect_it_sleeps();
}

TEST_F(asio_busy_poll, ends_with_the_loop_that_is_stopped_and_goes_on_when_it_is_restarted) {
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

TEST_F(asio_busy_poll, goes_with_its_context) {
  set_busy_poll(*io_, 1h);
  bool gone = false;
  reader_->async_read_some(net::buffer(&byte_, 1), [seen = witness{gone}](error_code, std::size_t) { FAIL(); });
  io_->run_one();
  reader_.reset();
  io_.reset();
  EXPECT_TRUE(gone);
}

/// Reads one letter so many times, each started by the handler of the one before.
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

// Oracle: each row reads its letter as often as it was asked to, and the threads return.
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
