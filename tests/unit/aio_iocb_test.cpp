// SPDX-License-Identifier: Apache-2.0
//
// The iocbs that the prep functions make, compared with the kernel's definitions; and contexts that have been moved.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

namespace {

namespace aio = doorbell::aio;

constexpr int file_number = 5;
constexpr std::int64_t position = 7;

/// The fields of an iocb that differ between the operations.
struct fields {
  unsigned opcode;
  std::uint64_t buffer;
  std::uint64_t bytes;
  std::int64_t offset;
};

// Oracle: all other fields are zero, as after a memset.
void expect_iocb(const aio::iocb_abi& made, const fields& expected) {
  ::iocb of_kernel{};
  static_assert(sizeof made == sizeof of_kernel);
  std::memcpy(&of_kernel, &made, sizeof of_kernel);
  EXPECT_EQ(of_kernel.aio_lio_opcode, expected.opcode);
  EXPECT_EQ(of_kernel.aio_fildes, static_cast<unsigned>(file_number));
  EXPECT_EQ(of_kernel.aio_buf, expected.buffer);
  EXPECT_EQ(of_kernel.aio_nbytes, expected.bytes);
  EXPECT_EQ(of_kernel.aio_offset, expected.offset);
  EXPECT_EQ(of_kernel.aio_data, 0U);
  EXPECT_EQ(of_kernel.aio_rw_flags, 0);
  EXPECT_EQ(of_kernel.aio_reqprio, 0);
  EXPECT_EQ(of_kernel.aio_reserved2, 0U);
  EXPECT_EQ(of_kernel.aio_flags, 0U);
  EXPECT_EQ(of_kernel.aio_resfd, 0U);
}

TEST(prepared_iocb, has_the_kernels_layout) {
  std::array<char, 3> text{};
  const std::array parts{iovec{.iov_base = text.data(), .iov_len = 1}, iovec{.iov_base = &text[1], .iov_len = 2}};
  const auto at_text = reinterpret_cast<std::uintptr_t>(text.data());
  const auto at_parts = reinterpret_cast<std::uintptr_t>(parts.data());
  expect_iocb(aio::prep_pread(file_number, text.data(), 3, position), {IOCB_CMD_PREAD, at_text, 3, position});
  expect_iocb(aio::prep_pwrite(file_number, text.data(), 3, position), {IOCB_CMD_PWRITE, at_text, 3, position});
  expect_iocb(aio::prep_preadv(file_number, parts, position), {IOCB_CMD_PREADV, at_parts, 2, position});
  expect_iocb(aio::prep_pwritev(file_number, parts, position), {IOCB_CMD_PWRITEV, at_parts, 2, position});
  expect_iocb(aio::prep_fsync(file_number), {IOCB_CMD_FSYNC, 0, 0, 0});
  expect_iocb(aio::prep_fdsync(file_number), {IOCB_CMD_FDSYNC, 0, 0, 0});
  expect_iocb(aio::prep_poll(file_number, POLLOUT), {IOCB_CMD_POLL, POLLOUT, 0, 0});
}

// NOLINTBEGIN(bugprone-use-after-move): the state of a context that has been moved is the subject
TEST(moved_context, has_no_handle) {
  aio::context first{8};
  const auto handle = first.handle();
  aio::context second{std::move(first)};
  EXPECT_EQ(first.handle(), 0U);
  EXPECT_EQ(second.handle(), handle);
  aio::context third{8};
  third = std::move(second);
  EXPECT_EQ(second.handle(), 0U);
  EXPECT_EQ(third.handle(), handle);
  auto sync = aio::prep_fsync(file_number);
  for (auto* const moved : {&first, &second}) {
    std::error_code ec;
    EXPECT_EQ(moved->submit({&sync}, ec), 0U);
    EXPECT_EQ(ec, std::errc::invalid_argument);
  }
}
// NOLINTEND(bugprone-use-after-move)

}  // namespace
