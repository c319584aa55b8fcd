// SPDX-License-Identifier: Apache-2.0
//
// A request uses the file that was open at its submission, even if the program closes or reuses the number afterwards.
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <malloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "../../aio/engine/threads/io_threads.hpp"
#include "file_answers.hpp"
#include "support/blocks.hpp"
#include "support/by_ring.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/locked_file.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::block;
using doorbell::test::blocks_of;
using doorbell::test::events_of;
using doorbell::test::pipe_ends;
using doorbell::test::size_of;
using doorbell::test::temporary_file;
using doorbell::test::unique_fd;

/// By syscall(2), which ThreadSanitizer does not intercept: it would report that a number that the library uses is
/// closed.
void close_number(int fd) { ASSERT_EQ(::syscall(SYS_close, fd), 0); }

/// Makes `fd` a new, empty file of the program, as a close and an open would.
void reuse_number(int fd) {
  const auto other = temporary_file();
  ASSERT_EQ(::syscall(SYS_dup3, other.get(), fd, O_CLOEXEC), fd);
}

unique_fd reopened(int fd, int flags) {
  return unique_fd{::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_CLOEXEC)};
}

/// For the tests of both engines. With io_uring, requests go to the ring where they may.
class pinned_files : public testing::TestWithParam<aio::engine_kind> {
 protected:
  pinned_files() {
    if (GetParam() == aio::engine_kind::io_uring) doorbell::test::let_ring_have_requests(ctx);
  }

  aio::context ctx{256, GetParam()};
};

struct way_of_writing {
  const char* name;
  int flags;
};
constexpr std::array ways{way_of_writing{"buffered", 0}, way_of_writing{"synchronous", O_SYNC},
                          way_of_writing{"direct", O_DIRECT}};

// Oracle: all bytes are in the file that was open at the submission. The file that gets its number afterwards stays
// empty.
TEST_P(pinned_files, writes_reach_the_file_that_was_open_at_submission) {
  constexpr std::size_t count = 64;
  for (const auto& way : ways) {
    SCOPED_TRACE(way.name);
    const auto file = temporary_file();
    const int number = reopened(file.get(), O_RDWR | way.flags).release();
    const auto bytes = blocks_of('x');
    std::vector<aio::iocb> writes;
    std::vector<aio::iocb*> asked;
    for (std::size_t n = 0; n < count; ++n)
      writes.push_back(aio::prep_pwrite(number, bytes.get(), block, static_cast<off_t>(n * block)));
    for (auto& each : writes) asked.push_back(&each);
    ASSERT_EQ(ctx.submit(asked), count);
    reuse_number(number);
    for (const auto& each : events_of(ctx, count)) EXPECT_EQ(each.res, static_cast<std::int64_t>(block));
    EXPECT_EQ(size_of(file.get()), static_cast<off_t>(count * block));
    EXPECT_EQ(size_of(number), 0);
    close_number(number);
  }
}

// Oracle: of two requests for one number, each writes to the file that the number referred to at its own submission,
// although the first is in flight when the second is submitted.
TEST_P(pinned_files, a_reused_number_names_another_file_while_the_first_is_in_flight) {
  const auto first = temporary_file();
  const auto second = temporary_file();
  const auto bytes = blocks_of('x');
  const int number = reopened(first.get(), O_RDWR | O_SYNC).release();
  const auto again = reopened(second.get(), O_RDWR | O_SYNC);
  for (int round = 0; round < 50; ++round) {
    auto one = aio::prep_pwrite(number, bytes.get(), block, 0);
    auto other = aio::prep_pwrite(number, bytes.get(), 2, 0);
    ASSERT_EQ(ctx.submit({&one}), 1U);
    ASSERT_EQ(::syscall(SYS_dup3, again.get(), number, O_CLOEXEC), number);
    ASSERT_EQ(ctx.submit({&other}), 1U);
    events_of(ctx, 2);
    ASSERT_EQ(size_of(first.get()), static_cast<off_t>(block));
    ASSERT_EQ(size_of(second.get()), 2);
    const auto back = reopened(first.get(), O_RDWR | O_SYNC);
    ASSERT_EQ(::syscall(SYS_dup3, back.get(), number, O_CLOEXEC), number);
    ASSERT_EQ(::ftruncate(first.get(), 0), 0);
    ASSERT_EQ(::ftruncate(second.get(), 0), 0);
  }
  close_number(number);
}

// Oracle: the pipe gets the bytes when it has room again, and the file that reuses its number stays empty.
TEST_P(pinned_files, a_waiting_write_completes_after_its_thread_ended_and_its_number_was_reused) {
  pipe_ends pipe;
  ASSERT_GE(::fcntl(pipe.write.get(), F_SETPIPE_SZ, static_cast<int>(block)), static_cast<int>(block));
  const auto junk = blocks_of('j');
  ASSERT_EQ(::write(pipe.write.get(), junk.get(), block), static_cast<ssize_t>(block));
  const int number = pipe.write.release();
  auto write = aio::prep_pwrite(number, "pipe", 4, 0);
  std::thread{[&] { ASSERT_EQ(ctx.submit({&write}), 1U); }}.join();
  reuse_number(number);
  ASSERT_EQ(::read(pipe.read.get(), junk.get(), block), static_cast<ssize_t>(block));
  EXPECT_EQ(events_of(ctx, 1)[0].res, 4);
  EXPECT_EQ(size_of(number), 0);
  ASSERT_EQ(::read(pipe.read.get(), junk.get(), block), 4);
  EXPECT_EQ((std::string_view{junk.get(), 4}), "pipe");
  close_number(number);
}

TEST_P(pinned_files, a_waiting_read_keeps_its_pipe_after_its_number_was_reused) {
  pipe_ends pipe;
  const int number = pipe.read.release();
  std::array<char, 8> text{};
  auto read = aio::prep_pread(number, text.data(), text.size(), 0);
  ASSERT_EQ(ctx.submit({&read}), 1U);
  const auto other = temporary_file("wrong file");
  ASSERT_EQ(::syscall(SYS_dup3, other.get(), number, O_CLOEXEC), number);
  ASSERT_EQ(::write(pipe.write.get(), "pipe", 4), 4);
  EXPECT_EQ(events_of(ctx, 1)[0].res, 4);
  EXPECT_EQ((std::string_view{text.data(), 4}), "pipe");
  close_number(number);
}

TEST_P(pinned_files, requests_do_not_release_record_locks) {
  const doorbell::test::locked_file file;
  const auto bytes = blocks_of('x');
  for (int round = 0; round < 8; ++round) {
    auto write = aio::prep_pwrite(file.get(), bytes.get(), block, 0);
    auto sync = aio::prep_fsync(file.get());
    auto poll = aio::prep_poll(file.get(), POLLIN);
    auto read = aio::prep_pread(file.get(), bytes.get(), block, 0);
    ASSERT_EQ(ctx.submit({&write, &sync, &poll, &read}), 4U);
    events_of(ctx, 4);
    ASSERT_TRUE(file.is_held()) << "round " << round;
  }
}

// Oracle: the writing end of the pipe reports that there is no reader.
TEST_P(pinned_files, no_file_stays_open_after_its_requests) {
  pipe_ends pipe;
  const int number = pipe.read.release();
  std::array<char, 8> text{};
  auto read = aio::prep_pread(number, text.data(), text.size(), 0);
  ASSERT_EQ(ctx.submit({&read}), 1U);
  close_number(number);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);  // the request still has the reading end
  EXPECT_EQ(events_of(ctx, 1)[0].res, 1);
  const auto has_no_reader = [&] { return (doorbell::test::polled(pipe.write.get()) & POLLERR) != 0; };
  EXPECT_TRUE(doorbell::test::eventually(has_no_reader));
}

INSTANTIATE_TEST_SUITE_P(by, pinned_files, testing::Values(aio::engine_kind::io_uring, aio::engine_kind::threads),
                         [](const auto& tested) {
                           return std::string{tested.param == aio::engine_kind::threads ? "threads" : "io_uring"};
                         });

}  // namespace
