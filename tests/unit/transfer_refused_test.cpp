// SPDX-License-Identifier: Apache-2.0
//
// A sandbox that refuses preadv2(2) and pwritev2(2), but allows the calls of the kernel's AIO, which does not need
// them. Oracle: each request has the result that the kernel's AIO returns, and transfers the same bytes.
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

#include "by_handle.hpp"
#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace aio = doorbell::aio;
using doorbell::test::by_engine;
using doorbell::test::by_handle;
using doorbell::test::temporary_file;
using doorbell::test::unique_fd;

class transfer_refused : public testing::TestWithParam<int> {
 protected:
  /// Runs `body` in a child in which the calls are refused.
  template <class Body>
  static void in_sandbox(Body body) {
    if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp(2)";
    doorbell::test::in_child([&] {
      doorbell::test::refuse(SYS_preadv2, GetParam());
      doorbell::test::refuse(SYS_pwritev2, GetParam());
      body();
    });
  }
};

std::string text_of(int fd) {
  std::string text(64, '\0');
  const auto bytes = ::pread(fd, text.data(), text.size(), 0);
  text.resize(bytes < 0 ? 0 : static_cast<std::size_t>(bytes));
  return text;
}

TEST_P(transfer_refused, reads_of_a_file_have_its_bytes) {
  in_sandbox([] {
    const auto file = temporary_file("hello, world");
    const by_handle ctx{8};
    std::array<char, 16> text{};
    EXPECT_EQ(ctx.result_of(aio::prep_pread(file.get(), text.data(), 5, 0)), 5);
    EXPECT_EQ((std::string{text.data(), 5}), "hello");
    EXPECT_EQ(ctx.result_of(by_engine(aio::prep_pread(file.get(), text.data(), text.size(), 7))), 5);
    EXPECT_EQ((std::string{text.data(), 5}), "world");
    EXPECT_EQ(ctx.result_of(aio::prep_pread(file.get(), text.data(), text.size(), 100)), 0);
    const std::array<iovec, 2> parts{iovec{text.data(), 2}, iovec{text.data() + 8, 3}};
    EXPECT_EQ(ctx.result_of(aio::prep_preadv(file.get(), parts, 1)), 5);
    EXPECT_EQ((std::string{text.data(), 2} + std::string{text.data() + 8, 3}), "ello,");
  });
}

TEST_P(transfer_refused, writes_reach_the_file_at_their_offset) {
  in_sandbox([] {
    const auto file = temporary_file("hello, world");
    const by_handle ctx{8};
    std::string there = "there";
    EXPECT_EQ(ctx.result_of(aio::prep_pwrite(file.get(), there.data(), there.size(), 7)), 5);
    EXPECT_EQ(text_of(file.get()), "hello, there");
    const std::array<iovec, 2> parts{iovec{there.data(), 2}, iovec{there.data() + 3, 2}};
    EXPECT_EQ(ctx.result_of(by_engine(aio::prep_pwritev(file.get(), parts, 0))), 4);
    EXPECT_EQ(text_of(file.get()), "threo, there");
  });
}

TEST_P(transfer_refused, reads_and_writes_of_a_pipe_wait_for_it) {
  in_sandbox([] {
    const doorbell::test::pipe_ends pipe;
    const by_handle ctx{8};
    char byte = 0;
    aio::iocb_abi read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    ASSERT_EQ(ctx.submit({&read, 1}), 1);
    ASSERT_EQ(::write(pipe.write.get(), "b", 1), 1);
    const auto events = ctx.events(1);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].res, 1);
    EXPECT_EQ(byte, 'b');
    char sent = 's';
    EXPECT_EQ(ctx.result_of(aio::prep_pwrite(pipe.write.get(), &sent, 1, 0)), 1);
    EXPECT_EQ(::read(pipe.read.get(), &byte, 1), 1);
    EXPECT_EQ(byte, 's');
  });
}

TEST_P(transfer_refused, reads_of_a_socket_wait_for_its_peer) {
  in_sandbox([] {
    std::array<int, 2> ends{-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const unique_fd own{ends[0]};
    const unique_fd peer{ends[1]};
    const by_handle ctx{8};
    char byte = 0;
    aio::iocb_abi read = aio::prep_pread(own.get(), &byte, 1, 0);
    ASSERT_EQ(ctx.submit({&read, 1}), 1);
    ASSERT_EQ(::write(peer.get(), "p", 1), 1);
    const auto events = ctx.events(1);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].res, 1);
    EXPECT_EQ(byte, 'p');
    EXPECT_EQ(ctx.result_of(aio::prep_pwrite(own.get(), &byte, 1, 0)), 1);
    byte = 0;
    EXPECT_EQ(::read(peer.get(), &byte, 1), 1);
    EXPECT_EQ(byte, 'p');
  });
}

TEST_P(transfer_refused, a_read_of_an_eventfd_returns_its_count_or_try_again) {
  in_sandbox([] {
    const unique_fd event{::eventfd(7, EFD_CLOEXEC | EFD_NONBLOCK)};
    const by_handle ctx{8};
    std::uint64_t count = 0;
    EXPECT_EQ(ctx.result_of(aio::prep_pread(event.get(), &count, sizeof count, 0)), 8);
    EXPECT_EQ(count, 7U);
    EXPECT_EQ(ctx.result_of(aio::prep_pread(event.get(), &count, sizeof count, 0)), -EAGAIN);
  });
}

// EPERM is also an error of files.
TEST_P(transfer_refused, a_write_that_the_file_refuses_has_the_error_of_the_file) {
  in_sandbox([] {
    const unique_fd sealed{::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    ASSERT_EQ(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
    const by_handle ctx{8};
    char byte = 'x';
    EXPECT_EQ(ctx.result_of(aio::prep_pwrite(sealed.get(), &byte, 1, 0)), -EPERM);
  });
}

// Only the kernel's AIO is refused here; preadv2(2) and pwritev2(2) are allowed. One of the two writes has RWF_NOWAIT,
// which doorbell also sets in its own calls. The library must distinguish a refusal of that flag from an error of the
// file. Oracle: the result is that of pwritev2(2).
TEST(transfer_not_refused, a_write_to_an_immutable_file_has_the_error_of_the_file) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  const auto file = temporary_file("hello");
  if (::fcntl(file.get(), F_SETFL, O_DIRECT) != 0) GTEST_SKIP() << "the file system has no O_DIRECT";
  int before = 0;
  if (::ioctl(file.get(), FS_IOC_GETFLAGS, &before) != 0) GTEST_SKIP() << "the file system has no such flags";
  int immutable = before | FS_IMMUTABLE_FL;
  if (::ioctl(file.get(), FS_IOC_SETFLAGS, &immutable) != 0) GTEST_SKIP() << "may not make files immutable";
  doorbell::test::in_child([&] {
    doorbell::test::refuse_kernel_aio();
    const by_handle ctx{8};
    alignas(4096) std::array<char, 4096> block{};
    const iovec buffer{.iov_base = block.data(), .iov_len = block.size()};
    for (const int flags : {0, RWF_NOWAIT}) {
      ASSERT_EQ(::pwritev2(file.get(), &buffer, 1, 0, flags), -1);
      const auto expected = -errno;
      auto write = aio::prep_pwrite(file.get(), block.data(), block.size(), 0);
      write.rw_flags = flags;
      EXPECT_EQ(ctx.result_of(write), expected) << "flags " << flags;
    }
  });
  EXPECT_EQ(::ioctl(file.get(), FS_IOC_SETFLAGS, &before), 0);
}

INSTANTIATE_TEST_SUITE_P(errors, transfer_refused, testing::Values(EPERM, ENOSYS, EACCES));

}  // namespace
