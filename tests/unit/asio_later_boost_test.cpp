// SPDX-License-Identifier: Apache-2.0
//
// Completion tokens and adapters that Boost.Asio added after 1.81, with each of doorbell's I/O objects. Each test is
// compiled only if the Boost in use has the token or adapter.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#if __has_include(<boost/asio/cancel_after.hpp>)
#include <boost/asio/cancel_after.hpp>
#include <boost/asio/cancel_at.hpp>
#define HAS_CANCEL_AFTER 1
#else
#define HAS_CANCEL_AFTER 0
#endif
#if __has_include(<boost/asio/co_composed.hpp>)
#include <boost/asio/co_composed.hpp>
#else
#include <boost/asio/experimental/co_composed.hpp>
#endif

#include "support/files.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::test::pipe_ends;
using net::error::operation_aborted;

constexpr std::string_view text = "hello, world";

class asio_later_boost : public testing::Test {
 protected:
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  doorbell::asio::watch watch{io};
  pipe_ends pipe;
  stream_file pipe_reader{io, pipe.read.release()};
  random_access_file file{io, doorbell::test::temporary_file(text).release()};
  std::array<char, 64> room{};
};

TEST_F(asio_later_boost, as_tuple_outside_experimental_yields_the_result_of_each_object) {
  int ended = 0;
  auto all = [&]() -> net::awaitable<void> {
    constexpr auto tuple = net::as_tuple(net::use_awaitable);
    const auto [not_written] = co_await efd.async_write(UINT64_MAX, tuple);
    EXPECT_EQ(not_written, net::error::invalid_argument);
    const auto [written] = co_await efd.async_write(7, tuple);
    EXPECT_EQ(written, error_code{});
    const auto [counted, count] = co_await efd.async_read(tuple);
    EXPECT_EQ(std::make_pair(counted, count), std::make_pair(error_code{}, std::uint64_t{7}));
    const auto [file_ec, bytes] = co_await file.async_read_some_at(7, net::buffer(room), tuple);
    EXPECT_EQ(file_ec, error_code{});
    EXPECT_EQ(std::string_view(room.data(), bytes), text.substr(7));
    EXPECT_EQ(::write(pipe.write.get(), "abc", 3), 3);
    const auto [stream_ec, stream_bytes] = co_await pipe_reader.async_read_some(net::buffer(room), tuple);
    EXPECT_EQ(std::make_pair(stream_ec, stream_bytes), std::make_pair(error_code{}, std::size_t{3}));
    const auto [watch_ec] = co_await watch.async_wait(tuple);
    EXPECT_EQ(watch_ec, net::error::bad_descriptor);
    ++ended;
  };
  net::co_spawn(io, all, [](const std::exception_ptr& thrown) { EXPECT_EQ(thrown, nullptr); });
  io.run();
  EXPECT_EQ(ended, 1);
}

// co_composed: a coroutine that combines doorbell's operations into one operation, whose caller chooses the token.

#if __has_include(<boost/asio/co_composed.hpp>)
using net::co_composed;
#else
using net::experimental::co_composed;
#endif

// g++ 14 falsely reports for Boost 1.88 that the operator new and the operator delete of a coroutine's promise do not
// match.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

/// Reads counts until their sum is at least `goal`.
/// @param token its signature is void(error_code, std::uint64_t sum).
template <class Token>
auto async_sum(doorbell::asio::eventfd& efd, std::uint64_t goal, Token&& token) {
  return net::async_initiate<Token, void(error_code, std::uint64_t)>(
      co_composed<void(error_code, std::uint64_t)>(
          [](auto state, doorbell::asio::eventfd& from, std::uint64_t wanted) -> void {
            state.reset_cancellation_state(net::enable_total_cancellation());
            std::uint64_t sum = 0;
            while (sum < wanted) {
              const auto [ec, count] = co_await from.async_read(net::as_tuple(net::deferred));
              if (ec) co_yield state.complete(ec, sum);
              sum += count;
            }
            co_return {error_code{}, sum};
          },
          efd),
      token, std::ref(efd), goal);
}

/// Copies the first bytes of the file from `offset` on, 64 at most, into a pipe.
/// @param token its signature is void(error_code, std::size_t bytes).
template <class Token>
auto async_copy(random_access_file& from, std::uint64_t offset, stream_file& to, Token&& token) {
  return net::async_initiate<Token, void(error_code, std::size_t)>(
      co_composed<void(error_code, std::size_t)>(
          [](auto state, random_access_file& source, std::uint64_t at, stream_file& sink) -> void {
            std::array<char, 64> block{};
            const auto [read_ec, bytes] =
                co_await source.async_read_some_at(at, net::buffer(block), net::as_tuple(net::deferred));
            if (read_ec) co_yield state.complete(read_ec, bytes);
            const auto [ec, copied] =
                co_await sink.async_write_some(net::buffer(block, bytes), net::as_tuple(net::deferred));
            co_return {ec, copied};
          },
          from, to),
      token, std::ref(from), offset, std::ref(to));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

TEST_F(asio_later_boost, co_composed_reads_add_up_to_the_signalled_counts) {
  error_code ec = net::error::would_block;
  std::uint64_t sum = 0;
  async_sum(efd, 10, [&](error_code why, std::uint64_t total) {
    ec = why;
    sum = total;
  });
  for (std::uint64_t i = 1; i <= 4; ++i) {
    EXPECT_EQ(sum, 0U);
    efd.signal(i);
    io.poll();
  }
  io.run();
  EXPECT_EQ(ec, error_code{});
  EXPECT_EQ(sum, 10U);
}

TEST_F(asio_later_boost, co_composed_read_that_is_cancelled_returns_the_count_it_has_taken) {
  net::cancellation_signal stop;
  error_code ec;
  std::uint64_t sum = 0;
  async_sum(efd, 10, net::bind_cancellation_slot(stop.slot(), [&](error_code why, std::uint64_t total) {
              ec = why;
              sum = total;
            }));
  efd.signal(4);
  io.poll();
  stop.emit(net::cancellation_type::total);
  efd.signal(8);
  io.run();
  EXPECT_EQ(ec, operation_aborted);
  EXPECT_EQ(sum + efd.read(), 12U);
}

TEST_F(asio_later_boost, co_composed_copies_between_files) {
  pipe_ends copy;
  stream_file sink{io, copy.write.release()};
  error_code ec = net::error::would_block;
  std::size_t bytes = 0;
  async_copy(file, 7, sink, [&](error_code why, std::size_t n) {
    ec = why;
    bytes = n;
  });
  io.run();
  EXPECT_EQ(ec, error_code{});
  EXPECT_EQ(bytes, text.size() - 7);
  EXPECT_EQ(::read(copy.read.get(), room.data(), room.size()), static_cast<ssize_t>(bytes));
  EXPECT_EQ(std::string_view(room.data(), bytes), text.substr(7));
}

#if HAS_CANCEL_AFTER
using namespace std::chrono_literals;

/// Records the arguments of a handler, and how often it was called.
struct ended {
  int times = 0;
  error_code ec = net::error::would_block;
  std::uint64_t count = 99;

  auto handler() {
    return [this](error_code why, std::uint64_t n = 0) {
      ++times;
      ec = why;
      count = n;
    };
  }
};

class asio_timeout : public asio_later_boost {
 protected:
  template <class Timed>
  void expect_each_aborted(const Timed& timed) {
    ended waited, read, watched, streamed, written;
    doorbell::asio::eventfd full{io};
    full.signal(doorbell::eventfd::max);
    efd.async_wait(POLLIN, timed(waited.handler()));
    efd.async_read(timed(read.handler()));
    full.async_write(1, timed(written.handler()));
    watch.assign(doorbell::eventfd{}, ::eventfd(0, EFD_CLOEXEC));  // an open watch keeps the loop running
    watch.async_wait(timed(watched.handler()));
    pipe_reader.async_read_some(net::buffer(room), timed(streamed.handler()));
    const std::array all{&waited, &read, &written, &watched, &streamed};
    while (!std::ranges::all_of(all, [](const ended* one) { return one->times > 0; })) io.run_one();
    for (const auto* one : all) {
      EXPECT_EQ(one->times, 1);
      EXPECT_EQ(one->ec, operation_aborted);
    }
    EXPECT_EQ(read.count + streamed.count, 0U);
    expect_nothing_taken(full);
  }

  /// Checks that the cancelled operations had no effect, and that the objects can still be used.
  void expect_nothing_taken(const doorbell::asio::eventfd& full) {
    EXPECT_EQ(full.read(), doorbell::eventfd::max);
    EXPECT_TRUE(watch.is_open());
    efd.signal(5);
    EXPECT_EQ(::write(pipe.write.get(), "abc", 3), 3);
    ended read, streamed;
    efd.async_read(read.handler());
    pipe_reader.async_read_some(net::buffer(room), streamed.handler());
    watch.close();
    io.run();
    EXPECT_EQ(read.count, 5U);
    EXPECT_EQ(streamed.count, 3U);
  }
};

TEST_F(asio_timeout, cancel_after_ends_waiting_operations_and_nothing_is_lost) {
  expect_each_aborted([](auto handler) { return net::cancel_after(1ms, handler); });
}

TEST_F(asio_timeout, cancel_at_ends_waiting_operations_and_nothing_is_lost) {
  const auto soon = std::chrono::steady_clock::now() + 1ms;
  expect_each_aborted([soon](auto handler) { return net::cancel_at(soon, handler); });
}

TEST_F(asio_timeout, an_operation_that_completes_before_its_timeout_does_not_keep_the_loop_running) {
  const auto begun = std::chrono::steady_clock::now();
  ended waited, read, file_read, streamed;
  efd.signal(3);
  EXPECT_EQ(::write(pipe.write.get(), "abc", 3), 3);
  efd.async_wait(POLLIN, net::cancel_after(1h, waited.handler()));
  file.async_read_some_at(0, net::buffer(room), net::cancel_at(begun + 1h, file_read.handler()));
  std::array<char, 8> other_room{};
  pipe_reader.async_read_some(net::buffer(other_room), net::cancel_after(1h, streamed.handler()));
  io.run();
  efd.async_read(net::cancel_after(1h, read.handler()));
  io.restart();
  io.run();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 1h);
  for (const auto* one : {&waited, &read, &file_read, &streamed}) {
    EXPECT_EQ(one->times, 1);
    EXPECT_EQ(one->ec, error_code{});
  }
  EXPECT_EQ(read.count, 3U);
  EXPECT_EQ(streamed.count, 3U);
  EXPECT_EQ(std::string_view(room.data(), file_read.count), text);
}

TEST_F(asio_timeout, a_coroutine_gets_the_timeout_as_a_value) {
  error_code first;
  std::uint64_t second = 0;
  auto twice = [&]() -> net::awaitable<void> {
    first = std::get<0>(co_await efd.async_read(net::cancel_after(1ms, net::as_tuple(net::use_awaitable))));
    efd.signal(6);
    second = co_await efd.async_read(net::cancel_after(1h));
  };
  net::co_spawn(io, twice, [](const std::exception_ptr& thrown) { EXPECT_EQ(thrown, nullptr); });
  io.run();
  EXPECT_EQ(first, operation_aborted);
  EXPECT_EQ(second, 6U);
}
#endif

}  // namespace
