// SPDX-License-Identifier: Apache-2.0
//
// Files that have no room, are at their end, or fail: the event says how much was done, or why nothing was.
#include <doorbell/aio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>

#include "support/child.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::base::unique_fd;
using doorbell::test::in_child;

std::int64_t result_of(aio::iocb request) {
  aio::context ctx{8};
  EXPECT_EQ(ctx.submit({&request}), 1U);
  std::array<aio::io_event, 2> events{};
  const auto got = ctx.get_events(1, events, 20s);
  EXPECT_EQ(got.size(), 1U);
  return got.empty() ? 0 : got[0].res;
}

const std::int64_t page = ::sysconf(_SC_PAGESIZE);
const std::string two_pages(2 * static_cast<std::size_t>(page), 'p');

TEST(aio_device, a_read_across_the_end_of_a_file_is_short) {
  const auto file = doorbell::test::temporary_file("hello");
  std::array<char, 64> text{};
  std::array<char, 2> first{};
  const std::array<iovec, 2> buffers{iovec{first.data(), first.size()}, iovec{text.data(), text.size()}};
  EXPECT_EQ(result_of(aio::prep_pread(file.get(), text.data(), text.size(), 2)), 3);
  EXPECT_EQ(result_of(aio::prep_preadv(file.get(), buffers, 1)), 4);
  EXPECT_EQ(result_of(aio::prep_pread(file.get(), text.data(), text.size(), 5)), 0);
}

TEST(aio_device, a_read_of_a_pipe_takes_what_is_there) {
  doorbell::test::pipe_ends pipe;
  std::array<char, 64> text{};
  ASSERT_EQ(::write(pipe.write.get(), "abc", 3), 3);
  EXPECT_EQ(result_of(aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0)), 3);
  pipe.write.reset();
  EXPECT_EQ(result_of(aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0)), 0);
}

TEST(aio_device, a_write_to_a_pipe_that_nobody_reads_is_broken) {
  doorbell::test::pipe_ends pipe;
  pipe.read.reset();
  auto* const before = std::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(result_of(aio::prep_pwrite(pipe.write.get(), "x", 1, 0)), -EPIPE);
  std::signal(SIGPIPE, before);
}

TEST(aio_device, a_full_device_has_no_space) {
  const unique_fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  if (!full) GTEST_SKIP() << "no /dev/full here";
  EXPECT_EQ(result_of(aio::prep_pwrite(full.get(), "x", 1, 0)), -ENOSPC);
}

/// A file in a file system of one page, which only this process sees.
unique_fd file_in_one_page() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return {};
  if (::mount("none", "/tmp", "tmpfs", 0, ("size=" + std::to_string(page)).c_str()) != 0) return {};
  return unique_fd{::open("/tmp/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
}

TEST(aio_device, a_write_that_fills_the_file_system_is_short_and_the_next_has_no_space) {
  in_child([] {
    const auto file = file_in_one_page();
    if (!file) {
      std::fputs("skipped: this process may not mount a file system\n", stderr);
      return;
    }
    EXPECT_EQ(result_of(aio::prep_pwrite(file.get(), two_pages.data(), two_pages.size(), 0)), page);
    EXPECT_EQ(result_of(aio::prep_pwrite(file.get(), two_pages.data(), two_pages.size() / 2, page)), -ENOSPC);
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), page);
  });
}

TEST(aio_device, a_write_up_to_the_size_limit_is_short_and_one_beyond_is_too_big) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit one_page{.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &one_page), 0);
    EXPECT_EQ(result_of(aio::prep_pwrite(file.get(), two_pages.data(), two_pages.size(), 0)), 4096);
    EXPECT_EQ(result_of(aio::prep_pwrite(file.get(), two_pages.data(), 1, 4096)), -EFBIG);
  });
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), 4096);
}

TEST(aio_device, a_read_that_the_device_cannot_do_is_an_input_output_error) {
  const unique_fd memory{::open("/proc/self/mem", O_RDONLY | O_CLOEXEC)};
  if (!memory) GTEST_SKIP() << "/proc/self/mem cannot be opened here";
  constexpr std::int64_t where_nothing_is_mapped = 4096;
  char byte = 0;
  EXPECT_EQ(result_of(aio::prep_pread(memory.get(), &byte, 1, where_nothing_is_mapped)), -EIO);
}

}  // namespace
