// SPDX-License-Identifier: Apache-2.0
//
// Files at a fork. The test calls Asio's notify_fork() in one process, as the parent and the child would.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>

#include "asio_file_object.hpp"
#include "support/asleep.hpp"
#include "support/files.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::test::asio_file_object;
using doorbell::test::has_memory_folder;
using doorbell::test::memory_folder;
using doorbell::test::temporary_file;
using doorbell::test::temporary_file_in;
using net::error::operation_aborted;

/// Calls handlers until one has noted its result, and then the rest as the child of a fork.
void run_one_and_fork(net::io_context& io, const std::vector<error_code>& told) {
  while (told.empty()) ASSERT_EQ(io.run_one(), 1U);
  io.notify_fork(net::execution_context::fork_prepare);
  io.notify_fork(net::execution_context::fork_child);
  io.run();
}

// Oracle: an operation that was in flight at the fork ends in the child as aborted. An operation for which the context
// had no room is carried out in the child, and a handler that had not been called yet is called there.
TEST_F(asio_file_object, in_a_forks_child_carries_out_operations_that_had_no_room_in_the_parent) {
  constexpr std::size_t many = 3000;
  random_access_file reader{io_, pipe_.read.release()};
  std::array<char, many> rooms{};
  std::size_t aborted = 0;
  std::size_t read = 0;
  for (auto& room : rooms)
    reader.async_read_some_at(0, net::buffer(&room, 1), [&](error_code ec, std::size_t bytes) {
      aborted += ec == operation_aborted ? 1U : 0U;
      read += bytes;
    });
  io_.poll();
  io_.notify_fork(net::execution_context::fork_prepare);
  io_.notify_fork(net::execution_context::fork_child);
  io_.poll();
  EXPECT_GT(aborted, 0U);
  EXPECT_LT(aborted, many);
  const std::string bytes(many - aborted, 'x');
  EXPECT_EQ(::write(pipe_.write.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  io_.run();
  EXPECT_EQ(read, many - aborted);
}

TEST_F(asio_file_object, in_a_forks_child_calls_handlers_that_start_reads) {
  if (!has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  random_access_file file{io_, temporary_file_in(memory_folder, "text").release()};
  for (int i = 0; i < 2; ++i)
    file.async_read_some_at(0, net::buffer(room_), [&](error_code ec, std::size_t) {
      told_.push_back(ec);
      file.async_read_some_at(0, net::buffer(room_), tell());
    });
  run_one_and_fork(io_, told_);
  EXPECT_EQ(told_, std::vector<error_code>(4));
}

TEST_F(asio_file_object, in_a_forks_child_a_handler_that_was_posted_before_starts_a_read) {
  if (!has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  random_access_file file{io_, temporary_file_in(memory_folder, "text").release()};
  file.async_read_some_at(0, net::buffer(room_), tell());
  file.async_read_some_at(0, net::buffer(room_), [&](error_code ec, std::size_t) {
    told_.push_back(ec);
    file.async_read_some_at(0, net::buffer(room_), tell());
  });
  run_one_and_fork(io_, told_);
  EXPECT_EQ(told_, std::vector<error_code>(3));
}

// Oracle: the loop of the parent sleeps after the fork, and the completion of its read wakes it.
TEST_F(asio_file_object, in_a_forks_parent_still_waits_for_its_operations) {
  stream_file reader{io_, pipe_.read.release()};
  reader.async_read_some(net::buffer(room_), tell());
  io_.poll();
  io_.notify_fork(net::execution_context::fork_prepare);
  io_.notify_fork(net::execution_context::fork_parent);
  doorbell::test::asleep loop{[&] { io_.run(); }};
  EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1);
  loop.join();
  EXPECT_EQ(told_, std::vector<error_code>(1));
}

TEST_F(asio_file_object, in_a_forks_child_that_forks_again_can_be_used) {
  random_access_file file{io_, temporary_file("text").release()};
  file.async_read_some_at(0, net::buffer(room_), tell());
  io_.run();
  // The calls of a child after its fork, and then before and after a fork of its own.
  io_.notify_fork(net::execution_context::fork_prepare);
  io_.notify_fork(net::execution_context::fork_child);
  io_.notify_fork(net::execution_context::fork_prepare);
  EXPECT_NO_THROW(io_.notify_fork(net::execution_context::fork_parent));
  io_.restart();
  file.async_read_some_at(0, net::buffer(room_), tell());
  io_.run();
  EXPECT_EQ(told_, std::vector<error_code>(2));
}

}  // namespace
