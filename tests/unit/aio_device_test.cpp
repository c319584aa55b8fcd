// SPDX-License-Identifier: Apache-2.0
//
// Requests at the end of a file, on full devices and on devices that fail: the event contains the number of bytes
// transferred or the error.
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

TEST(aio_device, a_read_of_a_pipe_returns_the_available_bytes_and_0_after_the_last_writer) {
  doorbell::test::pipe_ends pipe;
  std::array<char, 64> text{};
  ASSERT_EQ(::write(pipe.write.get(), "abc", 3), 3);
  EXPECT_EQ(result_of(aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0)), 3);
  pipe.write.reset();
  EXPECT_EQ(result_of(aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0)), 0);
}

TEST(aio_device, a_write_to_a_pipe_without_a_reader_fails_with_epipe) {
  doorbell::test::pipe_ends pipe;
  pipe.read.reset();
  auto* const before = std::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(result_of(aio::prep_pwrite(pipe.write.get(), "x", 1, 0)), -EPIPE);
  std::signal(SIGPIPE, before);
}

TEST(aio_device, a_write_to_a_full_device_fails_with_enospc) {
  const unique_fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  if (!full) GTEST_SKIP() << "no /dev/full here";
  EXPECT_EQ(result_of(aio::prep_pwrite(full.get(), "x", 1, 0)), -ENOSPC);
}

/// Opens a file in a file system of one page, which is mounted in a namespace of this process.
/// @return an empty descriptor if this process may not mount.
unique_fd file_in_one_page() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return {};
  if (::mount("none", "/tmp", "tmpfs", 0, ("size=" + std::to_string(page)).c_str()) != 0) return {};
  return unique_fd{::open("/tmp/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
}

TEST(aio_device, a_write_that_fills_the_file_system_is_short_and_the_next_fails_with_enospc) {
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

TEST(aio_device, a_write_across_the_size_limit_is_short_and_one_beyond_it_fails_with_efbig) {
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

TEST(aio_device, a_read_that_the_device_cannot_carry_out_fails_with_eio) {
  const unique_fd memory{::open("/proc/self/mem", O_RDONLY | O_CLOEXEC)};
  if (!memory) GTEST_SKIP() << "/proc/self/mem cannot be opened here";
  constexpr std::int64_t where_nothing_is_mapped = 4096;
  char byte = 0;
  EXPECT_EQ(result_of(aio::prep_pread(memory.get(), &byte, 1, where_nothing_is_mapped)), -EIO);
}

}  // namespace
