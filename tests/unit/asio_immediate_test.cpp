// SPDX-License-Identifier: Apache-2.0
//
// Operations that end in their initiating function. A handler that is bound to an immediate executor (Boost 1.82 and
// later) is called by that executor; every other handler is called from the loop.
#include <doorbell/asio.hpp>
#include <doorbell/asio/detail/support/inline_executor.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/counting_allocator.hpp"
#include "support/files.hpp"
#include "support/immediately.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::file_base;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::asio::detail::inline_executor;

TEST(asio_inline_executor, runs_functions_inline_and_its_never_blocking_form_runs_them_in_the_loop) {
  net::io_context io;
  const inline_executor inline_executor{io};
  int ran = 0;
  inline_executor.execute([&] { ++ran; });
  EXPECT_EQ(ran, 1);
  const auto never_inline = net::require(inline_executor, net::execution::blocking_t::never);
  never_inline.execute([&] { ++ran; });
  net::dispatch(never_inline, [&] { ++ran; });
  net::post(inline_executor, [&, owned = std::make_unique<int>(1)] { ran += *owned; });
  EXPECT_EQ(ran, 1) << "a function ran inside execute(), dispatch() or post()";
  EXPECT_EQ(io.run(), 3U);
  EXPECT_EQ(ran, 4);
}

TEST(asio_inline_executor, its_never_blocking_form_runs_functions_in_a_thread_of_a_pool) {
  net::thread_pool pool{1};
  std::thread::id ran_in;
  net::require(inline_executor{pool}, net::execution::blocking_t::never).execute([&] {
    ran_in = std::this_thread::get_id();
  });
  pool.join();
  EXPECT_NE(ran_in, std::thread::id{});
  EXPECT_NE(ran_in, std::this_thread::get_id());
}

/// Records the arguments of a handler, and how often it was called.
struct told {
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

class asio_immediate : public testing::Test {
 protected:
  /// Starts an operation of each kind that ends in its initiating function. `bind` makes the token from the handler.
  template <class Bind>
  void start_all(const Bind& bind) {
    efd.close();
    efd.async_wait(POLLIN, bind(waited.handler()));
    efd.async_read(bind(read.handler()));
    efd.async_write(1, bind(written.handler()));
    open_eventfd.async_write(UINT64_MAX, bind(refused.handler()));
    no_watch.async_wait(bind(watched.handler()));
    no_file.async_read_some_at(0, net::buffer(room), bind(file_read.handler()));
    no_stream.async_write_some(net::buffer(text), bind(stream_written.handler()));
    file.async_read_some_at(0, net::mutable_buffer{}, bind(nothing_read.handler()));
  }
  // A composed operation is outstanding work of both loops until its handler is called, so both loops are polled.
  void run_both(net::io_context& others) {
    while (io.poll() + others.poll() > 0) {
      io.restart();
      others.restart();
    }
  }
  void expect_all_called(int times) const {
    for (const auto* one : {&waited, &read, &written, &refused, &watched, &file_read, &stream_written, &nothing_read})
      EXPECT_EQ(one->times, times);
  }
  void expect_results() const {
    for (const auto* one : {&waited, &read, &written, &watched, &file_read, &stream_written})
      EXPECT_EQ(one->ec, net::error::bad_descriptor);
    EXPECT_EQ(refused.ec, net::error::invalid_argument);
    EXPECT_EQ(nothing_read.ec, error_code{});
    for (const auto* one : {&read, &file_read, &stream_written, &nothing_read}) EXPECT_EQ(one->count, 0U);
  }

  net::io_context io;
  std::array<char, 16> room{};
  const std::string text = "text";
  doorbell::asio::eventfd efd{io};
  doorbell::asio::eventfd open_eventfd{io};
  doorbell::asio::watch no_watch{io};
  random_access_file no_file{io};
  stream_file no_stream{io};
  random_access_file file{io, "/dev/null", file_base::read_only};
  told waited, read, written, refused, watched, file_read, stream_written, nothing_read;
};

TEST_F(asio_immediate, an_unbound_handler_is_called_from_the_loop) {
  start_all([](auto handler) { return handler; });
  expect_all_called(0);
  io.run();
  expect_all_called(1);
  expect_results();
}

TEST_F(asio_immediate, a_handler_bound_to_another_executor_is_called_by_that_executor) {
  net::io_context others;
  start_all([&](auto handler) { return net::bind_executor(others.get_executor(), handler); });
  io.poll();
  expect_all_called(0);
  run_both(others);
  expect_all_called(1);
  expect_results();
}

#if DOORBELL_TEST_HAS_IMMEDIATE_EXECUTORS
TEST_F(asio_immediate, a_handler_bound_to_an_inline_immediate_executor_is_called_by_the_initiating_function) {
  start_all([](auto handler) { return net::bind_immediate_executor(net::system_executor{}, handler); });
  expect_all_called(1);
  EXPECT_FALSE(io.stopped()) << "an operation that began and ended outside of run() has stopped the loop";
  io.run();
  expect_all_called(1);
  expect_results();
}

TEST_F(asio_immediate, a_wait_that_is_refused_has_unlocked_its_mutex_when_its_handler_is_called_inline) {
  doorbell::asio::condition_variable changed{io};
  changed.close();
  std::mutex mutex;
  std::unique_lock lock{mutex};
  bool is_unlocked = false;
  changed.async_wait(lock, net::bind_immediate_executor(net::system_executor{}, [&](error_code ec) {
                       EXPECT_EQ(ec, net::error::bad_descriptor);
                       is_unlocked = !lock.owns_lock() && mutex.try_lock();
                       if (is_unlocked) mutex.unlock();
                     }));
  EXPECT_TRUE(is_unlocked);
}

TEST_F(asio_immediate, operations_are_completed_inline_in_a_thread_of_their_loop) {
  net::post(io, [&] {
    start_all([](auto handler) { return net::bind_immediate_executor(net::system_executor{}, handler); });
    expect_all_called(1);
  });
  EXPECT_EQ(io.run(), 1U);
  expect_results();
}

TEST_F(asio_immediate, an_immediate_executor_of_another_loop_calls_the_handler_there) {
  net::io_context others;
  start_all([&](auto handler) { return net::bind_immediate_executor(others.get_executor(), handler); });
  expect_all_called(0);
  run_both(others);
  expect_all_called(1);
  expect_results();
}

TEST_F(asio_immediate, a_handler_also_bound_to_a_strand_is_called_in_the_strand) {
  net::io_context others;
  const auto strand = net::make_strand(others);
  int in_strand = 0;
  efd.close();
  efd.async_read(net::bind_immediate_executor(
      net::system_executor{}, net::bind_executor(strand, [&](error_code ec, std::uint64_t) {
        in_strand += ec == net::error::bad_descriptor && strand.running_in_this_thread() ? 1 : 0;
      })));
  EXPECT_EQ(in_strand, 0);
  EXPECT_EQ(io.run(), 0U);
  others.run();
  EXPECT_EQ(in_strand, 1);
}

TEST_F(asio_immediate, an_operation_that_is_completed_inline_needs_no_memory) {
  doorbell::test::memory_count memory;
  const auto bind = [&](auto handler) {
    return net::bind_immediate_executor(
        net::system_executor{}, net::bind_allocator(doorbell::test::counting_allocator<std::byte>{memory}, handler));
  };
  efd.close();
  efd.async_read(bind(read.handler()));
  no_file.async_read_some_at(0, net::buffer(room), bind(file_read.handler()));
  EXPECT_EQ(read.times + file_read.times, 2);
  EXPECT_EQ(memory.ever, 0U);
}

TEST_F(asio_immediate, a_handler_called_inline_may_destroy_the_object) {
  auto own_eventfd = std::make_unique<doorbell::asio::eventfd>(io);
  auto own_file = std::make_unique<random_access_file>(io);
  own_eventfd->close();
  own_eventfd->async_read(
      net::bind_immediate_executor(net::system_executor{}, [&](error_code, std::uint64_t) { own_eventfd.reset(); }));
  own_file->async_sync_all(net::bind_immediate_executor(net::system_executor{}, [&](error_code) { own_file.reset(); }));
  EXPECT_EQ(own_eventfd, nullptr);
  EXPECT_EQ(own_file, nullptr);
}

// A ready operation may or may not complete inline. In both cases it must complete exactly once, with the whole result.
TEST_F(asio_immediate, an_operation_that_is_ready_completes_once) {
  told count, bytes;
  const auto written_file = doorbell::test::temporary_file(text);
  random_access_file readable{io, ::dup(written_file.get())};
  open_eventfd.signal(41);
  open_eventfd.async_read(net::bind_immediate_executor(net::system_executor{}, count.handler()));
  readable.async_read_some_at(0, net::buffer(room),
                              net::bind_immediate_executor(net::system_executor{}, bytes.handler()));
  open_eventfd.signal();
  io.run();
  EXPECT_EQ(count.times, 1);
  EXPECT_EQ(count.count + (open_eventfd.context()->count()), 42U);
  EXPECT_EQ(bytes.times, 1);
  EXPECT_EQ(std::string(room.data(), bytes.count), text);
}

// A read of a file in memory (tmpfs) never waits.
class asio_immediate_read : public asio_immediate {
 protected:
  void SetUp() override {
    if (!doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
    in_memory.assign(doorbell::test::temporary_file_in(doorbell::test::memory_folder, text).release());
    stream.assign(doorbell::test::temporary_file_in(doorbell::test::memory_folder, text).release());
  }

  template <class Handler>
  static auto inline_token(Handler handler) {
    return net::bind_immediate_executor(net::system_executor{}, handler);
  }

  random_access_file in_memory{io};
  stream_file stream{io};
};

TEST_F(asio_immediate_read, of_a_file_in_memory_is_completed_inline_and_needs_no_allocation) {
  doorbell::test::memory_count memory;
  told all, end;
  in_memory.async_read_some_at(
      1, net::buffer(room),
      inline_token(net::bind_allocator(doorbell::test::counting_allocator<std::byte>{memory}, all.handler())));
  EXPECT_EQ(all.times, 1);
  EXPECT_EQ(all.ec, error_code{});
  EXPECT_EQ(std::string(room.data(), all.count), text.substr(1));
  in_memory.async_read_some_at(text.size(), net::buffer(room), inline_token(end.handler()));
  EXPECT_EQ(end.times, 1);
  EXPECT_EQ(end.ec, net::error::eof);
  EXPECT_EQ(memory.ever, 0U);
  EXPECT_FALSE(io.stopped());
  io.run();
  EXPECT_EQ(all.times + end.times, 2);
}

TEST_F(asio_immediate_read, of_a_stream_moves_its_position) {
  told first, second;
  stream.async_read_some(net::buffer(room.data(), 1), inline_token(first.handler()));
  stream.async_read_some(net::buffer(room.data() + 1, 8), inline_token(second.handler()));
  EXPECT_EQ(first.count + second.count, text.size());
  EXPECT_EQ(std::string(room.data(), text.size()), text);
  EXPECT_EQ(stream.seek(0, file_base::seek_cur), text.size());
}

TEST_F(asio_immediate_read, of_a_stream_does_not_overtake_an_outstanding_one) {
  told first, second;
  stream.async_read_some(net::buffer(room.data(), 1), first.handler());
  stream.async_read_some(net::buffer(room.data() + 1, 8), inline_token(second.handler()));
  EXPECT_EQ(second.times, 0);
  io.run();
  EXPECT_EQ(first.count, 1U);
  EXPECT_EQ(second.count, text.size() - 1);
  EXPECT_EQ(std::string(room.data(), text.size()), text);
}

TEST_F(asio_immediate_read, bound_to_the_executor_of_its_loop_is_completed_inline_only_in_that_loop) {
  told outside, inside;
  const auto bound = [&](auto handler) { return net::bind_immediate_executor(io.get_executor(), handler); };
  in_memory.async_read_some_at(0, net::buffer(room), bound(outside.handler()));
  EXPECT_EQ(outside.times, 0);
  net::post(io, [&] {
    in_memory.async_read_some_at(0, net::buffer(room), bound(inside.handler()));
    EXPECT_EQ(inside.times, 1);
  });
  io.run();
  EXPECT_EQ(outside.count, text.size());
  EXPECT_EQ(inside.count, text.size());
}

TEST_F(asio_immediate_read, of_an_empty_pipe_is_completed_from_the_loop) {
  told bytes;
  doorbell::test::pipe_ends pipe;
  stream_file reader{io, pipe.read.release()};
  reader.async_read_some(net::buffer(room), inline_token(bytes.handler()));
  EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(bytes.times, 0);
  io.run();
  EXPECT_EQ(bytes.times, 1);
  EXPECT_EQ(bytes.count, 1U);
}

TEST_F(asio_immediate_read, of_a_coroutine_needs_no_iteration_of_the_loop) {
  std::size_t sum = 0;
  net::co_spawn(
      io,
      [&]() -> net::awaitable<void> {
        for (int i = 0; i < 1000; ++i)
          sum += co_await in_memory.async_read_some_at(
              0, net::buffer(room), net::bind_immediate_executor(net::system_executor{}, net::use_awaitable));
      },
      net::detached);
  EXPECT_LT(io.run(), 10U);
  EXPECT_EQ(sum, 1000 * text.size());
}

TEST_F(asio_immediate, a_coroutine_goes_on_after_an_operation_that_ends_in_its_initiation) {
  std::vector<error_code> results;
  efd.close();
  net::co_spawn(
      io,
      [&]() -> net::awaitable<void> {
        const auto token = [] {
          return net::bind_immediate_executor(net::system_executor{}, net::as_tuple(net::use_awaitable));
        };
        for (int i = 0; i < 100; ++i) results.push_back(std::get<0>(co_await efd.async_read(token())));
        results.push_back(std::get<0>(co_await no_watch.async_wait(token())));
      },
      net::detached);
  io.run();
  EXPECT_EQ(results, std::vector<error_code>(101, net::error::bad_descriptor));
}
#endif

}  // namespace
