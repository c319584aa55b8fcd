// SPDX-License-Identifier: Apache-2.0
//
// Handlers of eventfd operations: associated executors and allocators, outstanding work, and loops that stop, restart,
// fork and are destroyed.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <thread>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/child.hpp"
#include "support/counting_allocator.hpp"
#include "support/witness.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::test::counting_allocator;
using doorbell::test::memory_count;
using doorbell::test::witness;

TEST(asio_handler, memory_is_from_the_associated_allocator_and_freed_before_the_handler_is_called) {
  memory_count memory;
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::size_t live_in_handler = 1;
  auto handler = [&](error_code, std::uint64_t) { live_in_handler = memory.live; };
  efd.async_read(net::bind_allocator(counting_allocator<std::byte>{memory}, handler));
  EXPECT_GT(memory.live, 0U);
  efd.signal();
  io.run();
  EXPECT_EQ(live_in_handler, 0U);
  EXPECT_EQ(memory.ever, 1U) << "one operation, one allocation";
}

TEST(asio_handler, memory_of_a_cancelled_operation_is_freed_before_the_handler_is_called) {
  memory_count memory;
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::size_t live_in_handler = 1;
  auto handler = [&](error_code) { live_in_handler = memory.live; };
  efd.async_wait(POLLIN, net::bind_allocator(counting_allocator<std::byte>{memory}, handler));
  efd.cancel();
  io.run();
  EXPECT_EQ(live_in_handler, 0U);
}

TEST(asio_handler, a_move_only_handler_is_accepted) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::uint64_t told = 0;
  efd.async_read(
      [&, owned = std::make_unique<std::uint64_t>(1)](error_code, std::uint64_t count) { told = count + *owned; });
  efd.signal(2);
  io.run();
  EXPECT_EQ(told, 3U);
}

TEST(asio_handler, runs_in_the_strand_that_it_is_bound_to) {
  net::io_context io;
  const auto strand = net::make_strand(io);
  doorbell::asio::eventfd efd{io};
  bool in_strand = false;
  efd.async_read(
      net::bind_executor(strand, [&](error_code, std::uint64_t) { in_strand = strand.running_in_this_thread(); }));
  efd.signal();
  io.run();
  EXPECT_TRUE(in_strand);
}

TEST(asio_handler, runs_in_the_strand_that_the_object_is_bound_to) {
  net::io_context io;
  const auto strand = net::make_strand(io);
  doorbell::asio::basic_eventfd<net::strand<net::io_context::executor_type>> efd{strand};
  bool in_strand = false;
  efd.async_read([&](error_code, std::uint64_t) { in_strand = strand.running_in_this_thread(); });
  efd.signal();
  io.run();
  EXPECT_TRUE(in_strand);
}

TEST(asio_handler, keeps_work_in_both_its_loops_until_it_is_called) {
  net::io_context io;
  net::io_context other;
  doorbell::asio::eventfd efd{io};
  bool called = false;
  efd.async_read(net::bind_executor(other, [&](error_code, std::uint64_t) { called = true; }));
  io.poll();
  other.poll();
  EXPECT_FALSE(io.stopped()) << "out of work with an operation outstanding";
  EXPECT_FALSE(other.stopped()) << "out of work with a handler to come";
  efd.signal();
  io.run();
  EXPECT_FALSE(called) << "called by the wrong loop";
  other.run();
  EXPECT_TRUE(called);
}

TEST(asio_handler, an_exception_of_a_handler_does_not_prevent_later_handlers) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  int called = 0;
  efd.async_wait(POLLIN, [](error_code) { throw std::runtime_error{"from a handler"}; });
  efd.async_wait(POLLIN, [&](error_code) { ++called; });
  efd.async_read([&](error_code, std::uint64_t) { ++called; });
  efd.signal();
  EXPECT_THROW(io.run(), std::runtime_error);
  io.run();
  EXPECT_EQ(called, 2);
}

TEST(asio_handler, may_start_the_next_operation_and_destroy_the_object) {
  net::io_context io;
  std::optional<doorbell::asio::eventfd> efd{io};
  error_code last;
  efd->async_read([&](error_code, std::uint64_t) {
    efd->async_read([&](error_code ec, std::uint64_t) { last = ec; });
    efd.reset();
  });
  efd->signal();
  io.run();
  EXPECT_EQ(last, net::error::operation_aborted);
}

net::awaitable<void> wait_with_an_object_of_its_own(doorbell::eventfd& theirs, witness) {
  doorbell::asio::eventfd efd{co_await net::this_coro::executor, theirs};
  co_await efd.async_read(net::use_awaitable);
}

TEST(asio_handler, a_coroutine_that_owns_its_object_is_destroyed_with_the_context) {
  doorbell::eventfd theirs;
  bool gone = false;
  {
    net::io_context io;
    net::co_spawn(io, wait_with_an_object_of_its_own(theirs, witness{gone}), net::detached);
    io.poll();
    theirs.signal();
  }
  EXPECT_TRUE(gone) << "the coroutine owned itself";
  theirs.signal();
  EXPECT_EQ(theirs.read(), 2U);
}

TEST(asio_handler, is_not_called_by_a_stopped_or_destroyed_context) {
  bool called = false;
  bool gone = false;
  {
    net::io_context io;
    doorbell::asio::eventfd efd{io};
    efd.async_read([&, seen = witness{gone}](error_code, std::uint64_t) { called = true; });
    efd.signal();
    io.stop();
    EXPECT_EQ(io.poll(), 0U);
  }
  EXPECT_FALSE(called);
  EXPECT_TRUE(gone);
}

TEST(asio_handler, is_called_by_a_context_that_is_restarted_after_a_stop) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::uint64_t told = 0;
  efd.async_read([&](error_code, std::uint64_t count) { told = count; });
  io.stop();
  efd.signal(4);
  EXPECT_EQ(io.run(), 0U);
  io.restart();
  EXPECT_EQ(io.run(), 1U);
  EXPECT_EQ(told, 4U);
}

TEST(asio_handler, is_called_in_the_child_of_a_fork_and_in_the_parent) {
  net::io_context io;
  doorbell::asio::eventfd efd{io};
  std::uint64_t told = 0;
  efd.async_read([&](error_code, std::uint64_t count) { told = count; });
  io.poll();
  io.notify_fork(net::io_context::fork_prepare);
  const pid_t child = doorbell::test::start_child([&] {
    io.notify_fork(net::io_context::fork_child);
    efd.signal(1);
    EXPECT_EQ(io.run(), 1U);
    EXPECT_EQ(told, 1U);
  });
  ASSERT_GT(child, 0);
  io.notify_fork(net::io_context::fork_parent);
  efd.signal(2);
  EXPECT_EQ(io.run(), 1U);
  EXPECT_EQ(told, 2U) << "the child's eventfd is a copy";
  doorbell::test::expect_success(child);
}

}  // namespace
