// SPDX-License-Identifier: Apache-2.0
//
// A program that closes a descriptor as soon as its requests are submitted, and reuses the number for another file.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "support/blocks.hpp"
#include "support/files.hpp"
#include "support/locked_file.hpp"
#include "support/race.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::base::unique_fd;
using doorbell::test::block;
using doorbell::test::blocks;
using doorbell::test::blocks_of;
using doorbell::test::budget;
using doorbell::test::temporary_file;

constexpr std::size_t writes = 4;

// These functions make system calls that ThreadSanitizer does not intercept. It would report that descriptors are
// closed while the library uses them, and that open descriptors are opened again.
void close_number(int fd) { ASSERT_EQ(::syscall(SYS_close, fd), 0); }
void put_at_number(const unique_fd& file, int number) {
  ASSERT_EQ(::syscall(SYS_dup3, file.get(), number, O_CLOEXEC), number);
}

int reopened(const unique_fd& file, int flags) {
  const auto path = "/proc/self/fd/" + std::to_string(file.get());
  const long number = ::syscall(SYS_openat, AT_FDCWD, path.c_str(), flags | O_CLOEXEC);
  EXPECT_GE(number, 0);
  return static_cast<int>(number);
}

/// A pipe. The number of its reading end is reused for another file.
struct pipe_numbers {
  pipe_numbers() { EXPECT_EQ(::syscall(SYS_pipe2, ends.data(), O_CLOEXEC), 0); }

  std::array<int, 2> ends{-1, -1};
  const int& read = ends[0];
  const int& write = ends[1];
};

off_t size_of(const unique_fd& file) {
  struct stat status{};
  EXPECT_EQ(::fstat(file.get(), &status), 0);
  return status.st_size;
}

void expect_answers(aio::context& ctx, std::size_t count) {
  std::array<aio::io_event, 2 * writes> events{};
  std::size_t got = 0;
  while (got < count) {
    const auto some = ctx.get_events(1, events);
    for (const auto& each : some) ASSERT_GE(each.res, 0) << each.res;
    got += some.size();
  }
  ASSERT_EQ(got, count);
}

/// One thread of the program, with a file that it writes to, and an innocent file that gets the numbers afterwards.
class writer {
 public:
  explicit writer(std::size_t seed) : round_{seed} {}

  void play_round() {
    constexpr std::array ways{0, O_DIRECT, O_SYNC, O_DSYNC | O_DIRECT};
    const auto pattern = static_cast<char>('a' + round_ % 26);
    std::fill_n(bytes_.get(), block, pattern);
    const int number = reopened(file_, O_RDWR | ways[round_ % ways.size()]);
    ++round_;
    std::array<aio::iocb, writes + 2> requests;
    for (std::size_t n = 0; n < writes; ++n)
      requests[n] = aio::prep_pwrite(number, bytes_.get(), block, static_cast<off_t>(n * block));
    requests[writes] = aio::prep_fsync(number);
    const pipe_numbers pipe;
    char byte = 0;
    requests[writes + 1] = aio::prep_pread(pipe.read, &byte, 1, 0);
    std::array<aio::iocb*, writes + 2> asked;
    std::ranges::transform(requests, asked.begin(), [](auto& each) { return &each; });
    ASSERT_EQ(ctx_.submit(asked), asked.size());
    put_at_number(innocent_, number);
    put_at_number(innocent_, pipe.read);
    ASSERT_EQ(::syscall(SYS_write, pipe.write, "x", 1), 1);
    expect_answers(ctx_, asked.size());
    ASSERT_EQ(byte, 'x');
    ASSERT_EQ(size_of(innocent_), 0);
    ASSERT_EQ(::pread(file_.get(), read_back_.get(), writes * block, 0), static_cast<ssize_t>(writes * block));
    ASSERT_TRUE(
        std::all_of(read_back_.get(), read_back_.get() + writes * block, [&](char each) { return each == pattern; }));
    close_number(number);
    close_number(pipe.read);
    close_number(pipe.write);
  }

 private:
  aio::context ctx_{64};
  unique_fd file_ = temporary_file();
  unique_fd innocent_ = temporary_file();
  blocks bytes_ = blocks_of('?');
  blocks read_back_ = blocks_of('?', writes);
  std::size_t round_;
};

// Oracle: each byte is in the file that was open at its submission, and the file that gets the number stays empty.
// After each batch of requests for the locked file, another process finds that the record lock is still held.
TEST(close_and_reuse, no_byte_reaches_another_file_and_locks_stay_held) {
  const doorbell::test::locked_file locked;
  std::atomic<bool> is_over{false};
  std::vector<std::thread> writers;
  std::atomic<std::size_t> rounds{0};
  for (const std::size_t seed : {0U, 1U})
    writers.emplace_back([&, seed] {
      writer mine{seed};
      for (budget left{1000}; left.next(); ++rounds) mine.play_round();
      is_over = true;
    });
  aio::context ctx{64};
  const auto bytes = blocks_of('l');
  while (!is_over) {
    auto write = aio::prep_pwrite(locked.get(), bytes.get(), block, 0);
    auto sync = aio::prep_fsync(locked.get());
    auto poll = aio::prep_poll(locked.get(), POLLIN);
    ASSERT_EQ(ctx.submit({&write, &sync, &poll}), 3U);
    expect_answers(ctx, 3);
    ASSERT_TRUE(locked.is_held());
  }
  for (auto& each : writers) each.join();
  RecordProperty("rounds", std::to_string(rounds));
}

}  // namespace
