// SPDX-License-Identifier: Apache-2.0
//
// File operations share a loop with other handlers: run_one() and poll_one() call at most one handler, stop() takes
// effect after the current handler, and file operations do not delay posted handlers. Also: reads of directories, and
// files that outlive their loop.
#include <doorbell/asio/random_access_file.hpp>
#include <doorbell/asio/stream_file.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "support/files.hpp"
#include "support/witness.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::file_base;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;

const std::string text(64, 'x');

/// The kinds of operations that succeed however often they are started.
enum class kind { read, read_in_memory, vectored_read, stream_read, write, sync };

class asio_file_loop : public testing::TestWithParam<kind> {
 protected:
  void SetUp() override {
    const bool in_memory = GetParam() == kind::read_in_memory;
    if (in_memory && !doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
    const char* const folder = in_memory ? doorbell::test::memory_folder : "/var/tmp";
    const auto there = doorbell::test::temporary_file_in(folder, text);
    file_.assign(::dup(there.get()));
    stream_.assign(::open(("/proc/self/fd/" + std::to_string(there.get())).c_str(), O_RDONLY | O_CLOEXEC));
  }

  template <class Handler>
  void start(Handler handler) {
    const std::array parts{net::buffer(room_.data(), 2), net::buffer(room_.data() + 2, 2)};
    switch (GetParam()) {
      case kind::read:
      case kind::read_in_memory:
        return file_.async_read_some_at(1, net::buffer(room_), handler);
      case kind::vectored_read:
        return file_.async_read_some_at(1, parts, handler);
      case kind::stream_read:
        stream_.seek(1, file_base::seek_set);
        return stream_.async_read_some(net::buffer(room_), handler);
      case kind::write:
        return file_.async_write_some_at(1, net::buffer(text, 4), handler);
      case kind::sync:
        return file_.async_sync_data([handler](error_code ec) mutable { handler(ec, 4); });
    }
  }

  /// Starts a series of operations: the handler of each operation starts the next one.
  void start_series() {
    start([this](error_code ec, std::size_t bytes) {
      EXPECT_FALSE(ec);
      EXPECT_EQ(bytes, 4U);
      ++called_;
      in_handler_();
      if (called_ < length) start_series();
    });
  }
  /// Oracle: each call of `run` calls one handler at most, and all handlers are called.
  template <class Run>
  void expect_one_at_a_time(int expected, Run run) {
    while (called_ < expected) {
      const int before = called_;
      run();
      ASSERT_LE(called_, before + 1);
    }
    EXPECT_EQ(called_, expected);
  }

  static constexpr int length = 60;
  net::io_context io_;
  random_access_file file_{io_};
  stream_file stream_{io_};
  std::array<char, 4> room_{};
  int called_ = 0;
  std::function<void()> in_handler_ = [] {};
};

TEST_P(asio_file_loop, stop_in_a_handler_ends_run_after_that_handler) {
  in_handler_ = [this] { io_.stop(); };
  start_series();
  for (int runs = 1; runs <= length; ++runs) {
    io_.run();
    ASSERT_EQ(called_, runs);
    io_.restart();
  }
}

TEST_P(asio_file_loop, run_one_calls_one_handler) {
  start_series();
  expect_one_at_a_time(length, [this] { EXPECT_EQ(io_.run_one(), 1U); });
}

TEST_P(asio_file_loop, poll_one_calls_one_handler) {
  start_series();
  expect_one_at_a_time(length, [this] { EXPECT_LE(io_.poll_one(), 1U); });
}

// Each operation has its own offset, so several operations may be outstanding.
class asio_file_loop_at_offsets : public asio_file_loop {};

TEST_P(asio_file_loop_at_offsets, run_one_calls_one_handler_of_several_that_are_outstanding) {
  constexpr int several = 20;
  for (int i = 0; i < several; ++i) start([this](error_code, std::size_t) { ++called_; });
  expect_one_at_a_time(several, [this] { EXPECT_EQ(io_.run_one(), 1U); });
}

// Oracle: at most one handler of the series is called between a post and the call of the posted handler.
TEST_P(asio_file_loop, a_posted_handler_does_not_wait_for_a_series) {
  int posted = 0;
  in_handler_ = [&] {
    net::post(io_, [&, before = called_] {
      ++posted;
      EXPECT_LE(called_, before + 1);
    });
  };
  start_series();
  io_.run();
  EXPECT_EQ(called_, length);
  EXPECT_EQ(posted, length);
}

// Oracle: each of several overlapping series completes all its operations.
TEST_P(asio_file_loop_at_offsets, overlapping_series_all_complete) {
  constexpr int series = 5;
  std::vector<int> left(series, length);
  std::function<void(std::size_t)> next = [&](std::size_t which) {
    start([&, which](error_code ec, std::size_t) {
      EXPECT_FALSE(ec);
      // The first series starts the second one when half of its operations have completed, and so on.
      if (--left[which] == length / 2 && which + 1 < series) next(which + 1);
      if (left[which] > 0) next(which);
    });
  };
  next(0);
  io_.run();
  EXPECT_EQ(left, std::vector<int>(series, 0));
}

std::string name_of(const testing::TestParamInfo<kind>& info) {
  constexpr std::array names{"read", "read_in_memory", "vectored_read", "stream_read", "write", "sync"};
  return names.at(static_cast<std::size_t>(info.param));
}

INSTANTIATE_TEST_SUITE_P(each, asio_file_loop,
                         testing::Values(kind::read, kind::read_in_memory, kind::vectored_read, kind::stream_read,
                                         kind::write, kind::sync),
                         name_of);
INSTANTIATE_TEST_SUITE_P(each, asio_file_loop_at_offsets,
                         testing::Values(kind::read, kind::read_in_memory, kind::vectored_read, kind::write,
                                         kind::sync),
                         name_of);

TEST(asio_file_series, each_read_of_a_stream_begins_where_the_last_one_ended) {
  std::string letters;
  for (int i = 0; i < 1000; ++i) letters += static_cast<char>('a' + i % 23);
  net::io_context io;
  stream_file file{io, doorbell::test::temporary_file(letters).release()};
  std::string read;
  error_code end;
  std::array<char, 3> room{};
  std::function<void()> next = [&] {
    file.async_read_some(net::buffer(room), [&](error_code ec, std::size_t bytes) {
      read.append(room.data(), bytes);
      end = ec;
      if (!ec) next();
    });
  };
  next();
  io.run();
  EXPECT_EQ(end, net::error::eof);
  EXPECT_EQ(read, letters);
  EXPECT_EQ(file.seek(0, file_base::seek_cur), letters.size());
}

TEST(asio_file_series, many_operations_started_by_one_handler_all_complete) {
  constexpr int many = 100;
  net::io_context io;
  random_access_file file{io, doorbell::test::temporary_file(text).release()};
  std::array<char, many> room{};
  int read = 0;
  file.async_read_some_at(0, net::buffer(room), [&](error_code, std::size_t) {
    for (auto& each : room)
      file.async_read_some_at(0, net::buffer(&each, 1), [&](error_code ec, std::size_t n) { read += ec ? 0 : int(n); });
    EXPECT_EQ(read, 0) << "a handler was called inside the initiating function";
  });
  io.run();
  EXPECT_EQ(read, many);
}

// Directories. Blocking and asynchronous reads fail with the same error, as those of Boost.Asio do.

TEST(asio_directory, read_fails_with_eisdir) {
  net::io_context io;
  stream_file stream{io, "/tmp", file_base::read_only};
  random_access_file file{io, "/tmp", file_base::read_only};
  std::array<char, 8> room{};
  const std::array parts{net::buffer(room.data(), 4), net::buffer(room.data() + 4, 4)};
  error_code blocking;
  std::vector<error_code> told;
  const auto tell = [&](error_code ec, std::size_t bytes) {
    told.push_back(ec);
    EXPECT_EQ(bytes, 0U);
  };
  EXPECT_EQ(stream.read_some(net::buffer(room), blocking), 0U);
  EXPECT_EQ(blocking, (error_code{EISDIR, boost::system::system_category()}));
  stream.async_read_some(net::buffer(room), tell);
  stream.async_read_some(parts, tell);
  file.async_read_some_at(0, net::buffer(room), tell);
  file.async_read_some_at(0, parts, tell);
  io.run();
  EXPECT_EQ(told, std::vector<error_code>(4, blocking));
}

TEST(asio_directory, read_of_0_bytes_and_sync_have_no_error) {
  net::io_context io;
  random_access_file file{io, "/var/tmp", file_base::read_only};
  int good = 0;
  file.async_read_some_at(0, net::mutable_buffer{}, [&](error_code ec, std::size_t) { good += ec ? 0 : 1; });
  file.async_sync_all([&](error_code ec) { good += ec ? 0 : 1; });
  file.sync_all();
  io.run();
  EXPECT_EQ(good, 2);
}

// A file that outlives its execution context.

class asio_file_without_loop : public testing::Test {
 protected:
  asio_file_without_loop() {
    io_.emplace();
    file_.emplace(*io_, doorbell::test::temporary_file(text).release());
    stream_.emplace(*io_, doorbell::test::temporary_file(text).release());
  }

  /// Destroys the context, and lets other objects reuse its memory.
  void end_context() {
    io_.reset();
    for (std::size_t size = 32; size <= 8192; size += 32) others_.emplace_back(size, '\xa5');
  }

  std::array<char, 4> room_{};
  std::vector<std::string> others_;
  std::optional<net::io_context> io_;
  std::optional<random_access_file> file_;
  std::optional<stream_file> stream_;
};

TEST_F(asio_file_without_loop, can_be_read_closed_and_destroyed) {
  file_->async_read_some_at(0, net::buffer(room_), [](error_code, std::size_t) { FAIL(); });
  end_context();
  EXPECT_EQ(file_->read_some_at(0, net::buffer(room_)), 4U);
  EXPECT_EQ(stream_->read_some(net::buffer(room_)), 4U);
  file_->cancel();
  const int fd = file_->native_handle();
  file_->close();
  EXPECT_FALSE(file_->is_open());
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1) << "the descriptor is still open";
  const doorbell::base::unique_fd released{stream_->release()};
  EXPECT_EQ(::lseek(released.get(), 0, SEEK_CUR), 4);
}

TEST_F(asio_file_without_loop, destroys_handlers_and_calls_none) {
  end_context();
  bool gone = false;
  file_->async_read_some_at(0, net::buffer(room_),
                            [seen = doorbell::test::witness{gone}](error_code, std::size_t) { FAIL(); });
  EXPECT_TRUE(gone);
}

TEST_F(asio_file_without_loop, is_not_accessed_by_a_slot_that_is_emitted) {
  net::cancellation_signal signal;
  int called = 0;
  file_->async_read_some_at(0, net::buffer(room_),
                            net::bind_cancellation_slot(signal.slot(), [&](error_code, std::size_t) { ++called; }));
  io_->run();
  end_context();
  signal.emit(net::cancellation_type::terminal);
  EXPECT_EQ(called, 1);
}

// A turn (file_proactor::turn()) that was posted earlier runs while handlers of the stream have been posted but not
// called. Oracle: the handlers of a stream are called in the order in which its operations end.
TEST(asio_file_order, handlers_of_a_stream_keep_the_order_of_its_operations_although_another_file_completes) {
  if (!doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  for (int round = 0; round < 20; ++round) {
    net::io_context io;
    stream_file stream{io, doorbell::test::temporary_file_in(doorbell::test::memory_folder, "abc").release()};
    stream.seek(0, file_base::seek_set);
    doorbell::test::pipe_ends pipe;
    stream_file reader{io, pipe.read.release()};
    std::array<char, 3> letters{};
    std::string order;
    char byte = 0;
    const auto read = [&](std::size_t i) {
      stream.async_read_some(net::buffer(&letters.at(i), 1), [&, i](error_code ec, std::size_t bytes) {
        EXPECT_FALSE(ec);
        EXPECT_EQ(bytes, 1U);
        order += letters.at(i);
      });
    };
    reader.async_read_some(net::buffer(&byte, 1), [](error_code, std::size_t) {});
    io.poll();  // the loop waits for the read of the pipe
    net::post(io, [&] {
      read(0);
      read(1);
      net::post(io, [&] { read(2); });
      EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1);
    });
    io.run();
    ASSERT_EQ(order, "abc");
  }
}

}  // namespace
