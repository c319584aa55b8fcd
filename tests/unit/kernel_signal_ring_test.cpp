// SPDX-License-Identifier: Apache-2.0
//
// Programs that read the ring, as QEMU does: the event is in the ring when the eventfd is signalled.
#include <doorbell/aio_calls.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "kernel_signal.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/ring_header.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::base::unique_fd;
using doorbell::test::block_size;
using doorbell::test::blocks;
using doorbell::test::by_handle;
using doorbell::test::kernel_signal;
using doorbell::test::ring_magic;
using doorbell::test::take_until;

// Like QEMU, the program never calls io_getevents. Oracle: when the eventfd is signalled, the event is in the ring.
TEST_F(kernel_signal, a_loop_that_reads_the_ring_finds_each_event_when_the_eventfd_is_signalled) {
  const by_handle ctx{blocks};
  for (int round = 0; round < 200; ++round) {
    submit_reads(ctx, 1, efd);
    ASSERT_TRUE(is_signalled(efd));
    ASSERT_EQ(doorbell::test::take(efd.get()), 1U);
    ASSERT_EQ(magic_of(ctx), ring_magic);
    ASSERT_EQ(read_ring(ctx), 1U);
  }
}

// Like libaio's io_getevents with a timeout of zero, the program makes no call if the ring has the magic number and is
// empty. Oracle: when the eventfd is signalled, the program gets the event.
TEST_F(kernel_signal, a_loop_that_checks_the_ring_first_gets_each_event_when_the_eventfd_is_signalled) {
  const by_handle ctx{blocks};
  const auto& ring = doorbell::test::header_at(ctx.handle());
  for (int round = 0; round < 400; ++round) {
    submit_reads(ctx, 1, efd);
    ASSERT_TRUE(is_signalled(efd));
    ASSERT_EQ(doorbell::test::take(efd.get()), 1U);
    const bool is_empty = magic_of(ctx) == ring_magic &&
                          std::atomic_ref<const unsigned>{ring.tail}.load(std::memory_order_acquire) == ring.head;
    ASSERT_FALSE(is_empty) << "round " << round;
    ASSERT_EQ(ctx.events(1).size(), 1U);
  }
}

TEST_F(kernel_signal, a_program_that_begins_to_read_the_ring_is_detected) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  ASSERT_NE(magic_of(ctx), ring_magic);
  // The program does not check the magic number, and finds the first event late.
  submit_reads(ctx, 1, efd);
  ASSERT_TRUE(doorbell::test::eventually([&] { return read_ring(ctx) == 1; }));
  ASSERT_EQ(take_until(efd.get(), 1), 1U);
  for (int round = 0; round < 200; ++round) {
    submit_reads(ctx, 1, efd);
    ASSERT_TRUE(is_signalled(efd));
    ASSERT_EQ(doorbell::test::take(efd.get()), 1U);
    ASSERT_EQ(read_ring(ctx), 1U);
  }
  EXPECT_EQ(magic_of(ctx), ring_magic);
}

// Oracle: the program finds each event in the ring without a call, although the kernel announced no completion of the
// first requests.
TEST_F(kernel_signal, after_its_last_call_a_program_finds_events_without_an_eventfd_in_the_ring) {
  const by_handle ctx{blocks};
  const auto submit_one = [&](std::size_t block) {
    auto asked = read_of(block, memory[block]);
    ASSERT_EQ(ctx.submit({&asked, 1}), 1);
  };
  for (std::size_t block = 0; block < blocks; ++block) {
    submit_one(block);
    ASSERT_EQ(ctx.events(1).size(), 1U);
  }
  for (int round = 0; round < 200; ++round) {
    submit_one(static_cast<std::size_t>(round) % blocks);
    ASSERT_TRUE(doorbell::test::eventually([&] { return read_ring(ctx) == 1; })) << round;
  }
  submit_one(0);
  EXPECT_EQ(ctx.events(1).size(), 1U);
}

// Oracle: a program that reads the ring, as QEMU does, gets the same results from io_submit(2) as in the kernel, and
// events are in the ring when the eventfd is signalled, although earlier requests for the same numbers needed no check.
TEST_F(kernel_signal, a_program_that_reads_the_ring_gets_the_kernels_results) {
  const by_handle ctx{blocks};
  const std::array parts{iovec{.iov_base = memory[2], .iov_len = block_size},
                         iovec{.iov_base = memory[3], .iov_len = block_size}};
  const unique_fd number{::fcntl(file.get(), F_DUPFD_CLOEXEC, 0)};
  const auto ask = [&](int resfd, std::uint64_t list) {
    aio::iocb_abi asked = aio::prep_preadv(number.get(), parts, 2 * block_size);
    asked.buf = list;
    asked.flags = aio::iocb_abi::flag_resfd;
    asked.resfd = static_cast<std::uint32_t>(resfd);
    if (const int answer = ctx.submit({&asked, 1}); answer != 1) return std::int64_t{answer};
    if (!is_signalled(efd) || doorbell::test::take(efd.get()) != 1) return std::int64_t{-ETIME};
    return last_in_ring(ctx);
  };
  const auto list = reinterpret_cast<std::uintptr_t>(parts.data());
  const auto use_number_for = [&](int other) { ASSERT_EQ(::dup3(other, number.get(), O_CLOEXEC), number.get()); };
  std::string text(2 * block_size, '.');
  text.append("twelve bytes");
  const auto cached = doorbell::test::temporary_file(text);
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(ask(efd.get(), list), 2 * block_size);
    EXPECT_EQ(ask(efd.get(), 8), -EFAULT);
    EXPECT_EQ(ask(-1, list), -EBADF);
    EXPECT_EQ(ask(file.get(), list), -EINVAL);
    use_number_for(cached.get());
    EXPECT_EQ(ask(efd.get(), list), 12);
    use_number_for(file.get());
  }
  EXPECT_FALSE(doorbell::test::readable(efd.get()));
  EXPECT_EQ(magic_of(ctx), ring_magic);
}

}  // namespace
