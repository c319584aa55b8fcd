// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::eventfd with signallers in other threads. Each test is bounded by counts, never by time.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace {

namespace net = boost::asio;
using boost::system::error_code;

constexpr std::uint64_t flood = 20'000;

/// Signals `efd` from a new thread, which closes its handle at the end.
std::jthread signaller(doorbell::eventfd efd, std::uint64_t times) {
  return std::jthread{[efd = std::move(efd), times] {
    for (std::uint64_t i = 0; i < times; ++i) efd.signal();
  }};
}

net::awaitable<void> sum_until_eof(doorbell::asio::eventfd& efd, std::uint64_t& sum) {
  try {
    for (;;) sum += co_await efd.async_read(net::use_awaitable);
  } catch (const boost::system::system_error& end) {
    EXPECT_EQ(end.code(), net::error::eof);
  }
}

// Oracle: the counts that are read add up to the number of signals, and the last close ends the loop after the last
// count.
TEST(asio_threads, a_flood_from_two_threads_is_counted_exactly_and_ends_with_eof) {
  net::io_context io;
  doorbell::eventfd efd;
  doorbell::asio::eventfd reader{io, efd};
  std::uint64_t sum = 0;
  net::co_spawn(io, sum_until_eof(reader, sum), net::detached);
  {
    const auto first = signaller(efd, flood);
    const auto second = signaller(efd, flood);
    efd.close();
    io.run();
  }
  EXPECT_EQ(sum, 2 * flood);
}

// Oracle: as above, although two objects in the loops of two threads compete for the counts.
TEST(asio_threads, two_loops_that_read_one_eventfd_lose_and_double_no_count) {
  doorbell::eventfd efd;
  struct listener {
    explicit listener(const doorbell::eventfd& efd) : reader{io, efd} {
      net::co_spawn(io, sum_until_eof(reader, sum), net::detached);
    }
    net::io_context io{1};
    doorbell::asio::eventfd reader;
    std::uint64_t sum = 0;
  };
  listener one{efd};
  listener two{efd};
  {
    const std::jthread other_loop{[&] { two.io.run(); }};
    const auto first = signaller(efd, flood);
    const auto second = signaller(efd, flood);
    efd.close();
    one.io.run();
  }
  EXPECT_EQ(one.sum + two.sum, 2 * flood);
}

// Oracle: as above, with one loop that two threads run, and several outstanding reads, each of which starts the next
// one.
TEST(asio_threads, one_loop_run_by_two_threads_counts_exactly) {
  net::io_context io;
  doorbell::eventfd efd;
  doorbell::asio::eventfd reader{io, efd};
  std::atomic<std::uint64_t> sum{0};
  std::array<std::uint64_t, 3> sums{};
  for (auto& part : sums) net::co_spawn(io, sum_until_eof(reader, part), net::detached);
  {
    const auto first = signaller(efd, flood);
    efd.close();
    const std::jthread other{[&] { io.run(); }};
    io.run();
  }
  for (const auto part : sums) sum += part;
  EXPECT_EQ(sum, flood);
}

// Oracle: as above, with a pool of two threads. join() returns when the last read has ended.
TEST(asio_threads, a_pool_of_threads_counts_exactly) {
  net::thread_pool pool{2};
  doorbell::eventfd efd;
  doorbell::asio::eventfd reader{pool, efd};
  std::array<std::uint64_t, 3> sums{};
  for (auto& part : sums) net::co_spawn(pool, sum_until_eof(reader, part), net::detached);
  {
    const auto first = signaller(efd, flood);
    const auto second = signaller(efd, flood);
    efd.close();
  }
  pool.join();
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), std::uint64_t{0}), 2 * flood);
}

// Oracle: the handlers of an object that is bound to a strand do not run concurrently, although two threads run them: a
// counter that is not atomic is exact.
TEST(asio_threads, a_strand_of_a_pool_runs_one_handler_at_a_time) {
  constexpr int operations = 2000;
  net::thread_pool pool{2};
  const auto strand = net::make_strand(pool);
  doorbell::asio::basic_eventfd<net::strand<net::thread_pool::executor_type>> efd{strand};
  int handled = 0;
  net::post(strand, [&] {
    for (int i = 0; i < operations; ++i) {
      efd.async_wait(POLLIN, [&](error_code) { ++handled; });
      efd.async_write(1, [&](error_code) { ++handled; });
    }
  });
  pool.join();
  EXPECT_EQ(handled, 2 * operations);
  EXPECT_EQ(efd.read(), static_cast<std::uint64_t>(operations));
}

// Oracle: each write succeeds once, and each read returns one written count. Writers and readers wait for each other,
// because only one of the counts fits at a time.
TEST(asio_threads, writes_and_reads_of_two_loops_wait_for_each_other) {
  constexpr int writes = 500;
  doorbell::eventfd efd;
  net::io_context writing{1};
  net::io_context reading{1};
  doorbell::asio::eventfd writer{writing, efd};
  doorbell::asio::eventfd reader{reading, efd};
  int written = 0;
  int read = 0;
  net::co_spawn(
      writing,
      [&]() -> net::awaitable<void> {
        for (; written < writes; ++written) co_await writer.async_write(doorbell::eventfd::max, net::use_awaitable);
      },
      net::detached);
  net::co_spawn(
      reading,
      [&]() -> net::awaitable<void> {
        for (; read < writes; ++read) EXPECT_EQ(co_await reader.async_read(net::use_awaitable), doorbell::eventfd::max);
      },
      net::detached);
  {
    const std::jthread other{[&] { writing.run(); }};
    reading.run();
  }
  EXPECT_EQ(written, writes);
  EXPECT_EQ(read, writes);
}

// Oracle: whenever the cancel happens, each count is in exactly one place: it has been read, or it is in the eventfd.
TEST(asio_threads, cancel_against_signal_loses_and_doubles_no_count) {
  constexpr int rounds = 2000;
  net::io_context io;
  doorbell::eventfd efd;
  doorbell::asio::eventfd reader{io, efd};
  std::uint64_t read = 0;
  int completed = 0;
  {
    const auto signalling = signaller(efd, rounds);
    for (int i = 0; i < rounds; ++i) {
      net::cancellation_signal stop;
      reader.async_read(net::bind_cancellation_slot(stop.slot(), [&](error_code ec, std::uint64_t count) {
        ++completed;
        read += count;
        EXPECT_EQ(count > 0, !ec);
      }));
      io.poll();
      i % 2 ? reader.cancel() : stop.emit(net::cancellation_type::total);
      io.run();
      io.restart();
    }
  }
  EXPECT_EQ(completed, rounds);
  EXPECT_EQ(read + efd.context()->count(), static_cast<std::uint64_t>(rounds));
}

// Oracle: after an object and its loop are destroyed, no signaller accesses them, which the sanitizers check, and each
// operation's handler has been destroyed.
TEST(asio_threads, objects_and_loops_are_created_and_destroyed_under_a_signaller) {
  constexpr int rounds = 500;
  doorbell::eventfd efd;
  std::atomic<bool> enough{false};
  const std::jthread signalling{[&] {
    while (!enough.load()) efd.signal();
  }};
  const auto token = std::make_shared<int>();
  for (int i = 0; i < rounds; ++i) {
    net::io_context io{1};
    doorbell::asio::eventfd reader{io, efd};
    reader.async_read([token](error_code, std::uint64_t) {});
    reader.async_wait(POLLIN, [token](error_code) {});
    if (i % 2) io.poll();
  }
  enough = true;
  EXPECT_EQ(token.use_count(), 1);
}

// Oracle: every read ends exactly once, with eof, whether the last close happens before, during or after its start.
TEST(asio_threads, the_last_close_against_the_start_of_a_read_ends_it_with_eof) {
  constexpr int rounds = 500;
  int ended = 0;
  for (int i = 0; i < rounds; ++i) {
    net::io_context io{1};
    doorbell::eventfd efd;
    doorbell::asio::eventfd reader{io, efd};
    const std::jthread closer{[&] { efd.close(); }};
    reader.async_read([&](error_code ec, std::uint64_t) { ended += ec == net::error::eof; });
    io.run();
  }
  EXPECT_EQ(ended, rounds);
}

// Oracle: run() returns only after the handler was called for the signal of the other thread.
TEST(asio_threads, run_waits_for_the_signal_of_another_thread) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::thread::id called_in;
  efd.async_read([&](error_code, std::uint64_t) { called_in = std::this_thread::get_id(); });
  const std::jthread other{[&] { efd.signal(); }};
  EXPECT_EQ(io.run(), 1U);
  EXPECT_EQ(called_in, std::this_thread::get_id());
}

}  // namespace
