// SPDX-License-Identifier: Apache-2.0
//
// random_access_file: reads, writes, errors, completion tokens and associated executors.
#include <doorbell/asio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/completion_condition.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/read_at.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write_at.hpp>

#include "support/files.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::file_base;
using doorbell::asio::random_access_file;

constexpr std::string_view text = "hello, world";

/// Records the arguments of a handler, and how often it was called.
struct told {
  error_code ec = net::error::would_block;
  std::size_t bytes = 0;
  int times = 0;
  auto handler() {
    return [this](error_code why, std::size_t n) {
      ec = why;
      bytes = n;
      ++times;
    };
  }
};

class asio_file : public testing::Test {
 protected:
  asio_file() : file_{io_, doorbell::test::temporary_file(text).release()} {}

  [[nodiscard]] std::string name() { return "/proc/self/fd/" + std::to_string(file_.native_handle()); }
  void run() {
    io_.restart();
    io_.run();
  }
  told read_at(std::uint64_t offset, auto buffers) {
    told result;
    file_.async_read_some_at(offset, buffers, result.handler());
    run();
    return result;
  }

  net::io_context io_;
  random_access_file file_;
  std::array<char, 64> block_{};
};

TEST_F(asio_file, reads_at_the_end_return_fewer_bytes_and_then_eof) {
  const auto all = read_at(0, net::buffer(block_));
  EXPECT_FALSE(all.ec);
  EXPECT_EQ(std::string_view(block_.data(), all.bytes), text);
  EXPECT_EQ(read_at(7, net::buffer(block_, 3)).bytes, 3U);
  EXPECT_EQ(std::string_view(block_.data(), 3), "wor");
  const auto end = read_at(text.size(), net::buffer(block_));
  EXPECT_EQ(end.ec, net::error::eof);
  EXPECT_EQ(end.bytes, 0U);
}

TEST_F(asio_file, a_read_of_0_bytes_at_the_end_has_no_error) {
  const auto nothing = read_at(text.size(), net::buffer(block_, 0));
  EXPECT_FALSE(nothing.ec);
  EXPECT_EQ(nothing.times, 1);
}

TEST_F(asio_file, calls_no_handler_inside_the_initiating_function) {
  told result;
  file_.async_read_some_at(0, net::buffer(block_), result.handler());
  EXPECT_EQ(result.times, 0);
  run();
  EXPECT_EQ(result.times, 1);
}

TEST_F(asio_file, scatters_and_gathers) {
  std::array<char, 5> first{};
  std::array<char, 2> second{};
  std::array<char, 9> third{};
  const std::array<net::mutable_buffer, 4> parts{net::buffer(first), net::buffer(block_, 0), net::buffer(second),
                                                 net::buffer(third)};
  EXPECT_EQ(read_at(0, parts).bytes, text.size());
  EXPECT_EQ(std::string_view(second.data(), 2), ", ");
  EXPECT_EQ(std::string_view(third.data(), 5), "world");

  told written;
  const std::array<net::const_buffer, 2> two{net::buffer("AB", 2), net::buffer("CDE", 3)};
  file_.async_write_some_at(1, two, written.handler());
  run();
  EXPECT_EQ(written.bytes, 5U);
  EXPECT_EQ(file_.read_some_at(0, net::buffer(block_)), text.size());
  EXPECT_EQ(std::string_view(block_.data(), 7), "hABCDE ");
}

TEST_F(asio_file, takes_part_in_composed_operations) {
  const std::string large(300'000, 'x');
  told written;
  net::async_write_at(file_, 0, net::buffer(large), written.handler());
  run();
  EXPECT_EQ(written.bytes, large.size());
  EXPECT_EQ(file_.size(), large.size());

  std::string there(large.size() + 10, '-');
  told read;
  net::async_read_at(file_, 0, net::buffer(there), read.handler());
  run();
  EXPECT_EQ(read.ec, net::error::eof);
  EXPECT_EQ(there.substr(0, read.bytes), large);

  told some;
  net::async_read_at(file_, large.size() - 5, net::buffer(there), net::transfer_at_least(5), some.handler());
  run();
  EXPECT_FALSE(some.ec);
  EXPECT_EQ(some.bytes, 5U);
}

TEST_F(asio_file, more_reads_than_fit_in_flight_are_all_carried_out) {
  constexpr std::size_t many = 3000;
  std::vector<char> received(many);
  std::size_t good = 0;
  for (std::size_t i = 0; i < many; ++i)
    file_.async_read_some_at(i % text.size(), net::buffer(&received[i], 1), [&, i](error_code ec, std::size_t n) {
      if (!ec && n == 1 && received[i] == text[i % text.size()]) ++good;
    });
  run();
  EXPECT_EQ(good, many);
}

TEST(asio_file_on_a_pipe, cancel_ends_reads_that_do_not_fit_in_flight_as_well) {
  constexpr std::size_t many = 3000;
  doorbell::test::pipe_ends pipe;
  net::io_context io;
  random_access_file reader{io, pipe.read.release()};
  std::vector<char> received(many);
  std::size_t cancelled = 0;
  for (auto& byte : received)
    reader.async_read_some_at(0, net::buffer(&byte, 1),
                              [&](error_code ec, std::size_t) { cancelled += ec == net::error::operation_aborted; });
  io.poll();
  reader.cancel();
  io.run();
  EXPECT_EQ(cancelled, many);
}

TEST_F(asio_file, calls_of_a_closed_file_fail_with_bad_descriptor) {
  random_access_file closed{io_};
  EXPECT_FALSE(closed.is_open());
  error_code ec;
  const auto refused = [&] { return std::exchange(ec, {}) == net::error::bad_descriptor; };
  EXPECT_EQ(closed.read_some_at(0, net::buffer(block_), ec), 0U);
  EXPECT_TRUE(refused());
  EXPECT_EQ(closed.write_some_at(0, net::buffer(block_), ec), 0U);
  EXPECT_TRUE(refused());
  EXPECT_EQ(closed.size(ec), 0U);
  EXPECT_TRUE(refused());
  EXPECT_EQ(closed.resize(1, ec), net::error::bad_descriptor);
  EXPECT_TRUE(refused());
  EXPECT_EQ(closed.sync_all(ec), net::error::bad_descriptor);
  EXPECT_TRUE(refused());
  EXPECT_EQ(closed.sync_data(ec), net::error::bad_descriptor);
  EXPECT_TRUE(refused());
  EXPECT_EQ(closed.cancel(ec), net::error::bad_descriptor);
  EXPECT_TRUE(refused());
  EXPECT_THROW(closed.cancel(), boost::system::system_error);
  EXPECT_FALSE(closed.close(ec));
  EXPECT_FALSE(ec);
  EXPECT_EQ(closed.release(), -1);

  told result;
  closed.async_read_some_at(0, net::buffer(block_), result.handler());
  closed.async_sync_all([&](error_code why) { ec = why; });
  run();
  EXPECT_EQ(result.ec, net::error::bad_descriptor);
  EXPECT_EQ(ec, net::error::bad_descriptor);
}

TEST_F(asio_file, open_and_assign_return_their_errors) {
  random_access_file other{io_};
  error_code ec;
  EXPECT_EQ(other.open("/no/such/file", file_base::read_only, ec), ec);
  EXPECT_EQ(ec, boost::system::errc::no_such_file_or_directory);
  EXPECT_THROW((random_access_file{io_, std::string{"/no/such/file"}, file_base::read_only}),
               boost::system::system_error);
  EXPECT_EQ(file_.open(name(), file_base::read_only, ec), net::error::already_open);
  EXPECT_EQ(ec, net::error::already_open);
  EXPECT_EQ(file_.assign(0, ec), net::error::already_open);
  EXPECT_EQ(ec, net::error::already_open);
  EXPECT_EQ(other.assign(-1, ec), net::error::bad_descriptor);
  EXPECT_EQ(ec, net::error::bad_descriptor);
  other.open(name(), file_base::read_only);
  told result;
  other.async_write_some_at(0, net::buffer("x", 1), result.handler());
  run();
  EXPECT_EQ(result.ec, net::error::bad_descriptor);
}

// Converts to a type of path, as an argument of Boost.Asio's functions may.
template <class To>
struct converts {
  std::string text;
  explicit(false) operator To() const {
    if constexpr (std::is_same_v<To, const char*>)
      return text.c_str();
    else
      return text;
  }
};

TEST_F(asio_file, is_opened_by_any_kind_of_path) {
  const auto opens = [&](const auto& path) {
    random_access_file file{io_, path, file_base::read_only};
    random_access_file other{file.get_executor(), path, file_base::read_only};
    file.close();
    file.open(path, file_base::read_only);
    return file.size() == text.size() && other.size() == text.size();
  };
  EXPECT_TRUE(opens(name()));
  EXPECT_TRUE(opens(name().c_str()));
  EXPECT_TRUE(opens(std::filesystem::path{name()}));
  EXPECT_TRUE(opens(std::filesystem::path{"/proc/self/fd"} / std::to_string(file_.native_handle())));
  EXPECT_TRUE(opens(converts<const char*>{name()}));
  EXPECT_TRUE(opens(converts<std::string>{name()}));
}

TEST_F(asio_file, can_be_resized_and_synced) {
  file_.resize(5);
  EXPECT_EQ(file_.size(), 5U);
  file_.sync_all();
  file_.sync_data();
  int good = 0;
  const auto count = [&](error_code ec) { good += ec ? 0 : 1; };
  file_.async_sync_all(count);
  file_.async_sync_data(count);
  run();
  EXPECT_EQ(good, 2);
}

TEST_F(asio_file, is_opened_with_any_flags_of_the_system) {
  constexpr std::size_t sector = 4096;
  file_.resize(sector);
  random_access_file direct{io_};
  error_code ec;
  direct.open(name(), file_base::read_only | O_DIRECT, ec);
  if (ec == net::error::invalid_argument) GTEST_SKIP() << "no O_DIRECT in this file system";
  ASSERT_FALSE(ec);
  EXPECT_NE(::fcntl(direct.native_handle(), F_GETFL) & O_DIRECT, 0);
  const std::unique_ptr<char, decltype(&std::free)> memory{static_cast<char*>(std::aligned_alloc(sector, sector)),
                                                           &std::free};
  told result;
  direct.async_read_some_at(0, net::buffer(memory.get(), sector), result.handler());
  run();
  EXPECT_FALSE(result.ec);
  EXPECT_EQ(std::string_view(memory.get(), text.size()), text);
}

// On a disk, the initiating function submits each read. In memory, it completes the read inline, and the loop calls the
// handler nevertheless.
class asio_file_with_o_direct : public testing::TestWithParam<const char*> {};

TEST_P(asio_file_with_o_direct, reads_that_start_each_other_all_complete) {
  if (::access(GetParam(), W_OK) != 0) GTEST_SKIP() << "no " << GetParam();
  constexpr std::size_t sector = 4096;
  const auto there = doorbell::test::temporary_file_in(GetParam(), std::string(sector, 'x'));
  net::io_context io;
  random_access_file file{io};
  error_code ec;
  file.open("/proc/self/fd/" + std::to_string(there.get()), file_base::read_only | O_DIRECT, ec);
  if (ec == net::error::invalid_argument) GTEST_SKIP() << "no O_DIRECT in this file system";
  ASSERT_FALSE(ec);
  const std::unique_ptr<char, decltype(&std::free)> memory{static_cast<char*>(std::aligned_alloc(sector, sector)),
                                                           &std::free};
  int left = 100;
  bool is_starting = false;
  std::function<void()> start = [&] {
    is_starting = true;
    file.async_read_some_at(0, net::buffer(memory.get(), sector), [&](error_code why, std::size_t bytes) {
      EXPECT_FALSE(is_starting);
      EXPECT_FALSE(why);
      EXPECT_EQ(bytes, sector);
      if (--left > 0) start();
    });
    is_starting = false;
  };
  start();
  io.run();
  EXPECT_EQ(left, 0);
}

INSTANTIATE_TEST_SUITE_P(on, asio_file_with_o_direct, testing::Values("/var/tmp", doorbell::test::memory_folder),
                         [](const auto& folder) {
                           return std::string{folder.param} == "/var/tmp" ? "a_disk" : "tmpfs";
                         });

TEST_F(asio_file, moves_with_its_outstanding_operations) {
  told result;
  file_.async_read_some_at(0, net::buffer(block_), result.handler());
  doorbell::asio::basic_random_access_file<net::io_context::executor_type> exact{io_};
  random_access_file moved{std::move(file_)};
  EXPECT_FALSE(file_.is_open());  // NOLINT(bugprone-use-after-move): a moved-from file is closed
  file_ = std::move(exact);
  run();
  EXPECT_EQ(result.bytes, text.size());
  file_ = std::move(moved);
  EXPECT_EQ(file_.size(), text.size());
}

TEST_F(asio_file, release_returns_the_descriptor) {
  const doorbell::base::unique_fd taken{file_.release()};
  EXPECT_FALSE(file_.is_open());
  EXPECT_EQ(::pread(taken.get(), block_.data(), 5, 0), 5);
}

TEST_F(asio_file, handlers_run_in_their_strand) {
  const auto strand = net::make_strand(io_);
  bool in_strand = false;
  file_.async_read_some_at(0, net::buffer(block_), net::bind_executor(strand, [&](error_code, std::size_t) {
                             in_strand = strand.running_in_this_thread();
                           }));
  run();
  EXPECT_TRUE(in_strand);
}

TEST_F(asio_file, results_come_as_futures_and_deferred) {
  net::thread_pool pool{1};
  random_access_file file{pool, name(), file_base::read_only};
  EXPECT_EQ(file.async_read_some_at(0, net::buffer(block_), net::use_future).get(), text.size());
  auto later = file.async_read_some_at(text.size(), net::buffer(block_), net::deferred);
  EXPECT_THROW(std::move(later)(net::use_future).get(), boost::system::system_error);
  pool.join();
}

TEST_F(asio_file, default_tokens_may_be_bound_to_the_type) {
  using file_type = net::use_awaitable_t<>::as_default_on_t<random_access_file>;
  file_type file{io_, name(), file_base::read_write};
  std::size_t read = 0;
  auto once = [&]() -> net::awaitable<void> {
    co_await file.async_write_some_at(0, net::buffer("J", 1));
    co_await file.async_sync_data();
    read = co_await file.async_read_some_at(0, net::buffer(block_));
  };
  net::co_spawn(io_, once(), net::detached);
  run();
  EXPECT_EQ(std::string_view(block_.data(), read), "Jello, world");
}

}  // namespace
