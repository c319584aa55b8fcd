// SPDX-License-Identifier: Apache-2.0
//
// Which O_DIRECT transfers the library leaves to the kernel without a check, and which eventfd the kernel then signals.
// These tests make few requests, so that they are short.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>

#include "kernel_signal.hpp"
#include "support/asleep.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::test::block_size;
using doorbell::test::blocks;
using doorbell::test::by_handle;
using doorbell::test::kernel_signal;
using doorbell::test::ring_magic;
using doorbell::test::take_until;

// Oracle: the context's descriptor announces each event, although the program has got many events by calls before it
// asked for the descriptor.
TEST_F(kernel_signal, a_contexts_descriptor_announces_events_after_many_calls) {
  aio::context ctx{blocks, aio::engine_kind::threads};
  const auto submit = [&](aio::iocb_abi& asked) {
    aio::iocb_abi* one = &asked;
    return aio::io_submit(ctx.handle(), 1, &one);
  };
  const auto get = [&] {
    aio::io_event event{};
    return aio::io_getevents(ctx.handle(), 1, 1, &event, nullptr);
  };
  for (std::size_t n = 0; n <= blocks; ++n) {
    auto asked = signalling_read(0, efd);
    ASSERT_EQ(submit(asked), 1);
    ASSERT_EQ(get(), 1);
  }
  std::error_code ec;
  const int descriptor = ctx.descriptor(ec);
  ASSERT_FALSE(ec);
  for (int round = 0; round < 4; ++round) {
    auto asked = signalling_read(0, efd);
    ASSERT_EQ(submit(asked), 1);
    ASSERT_TRUE(is_signalled(descriptor)) << "round " << round;
    ASSERT_EQ(get(), 1);
  }
}

// Fewer rounds than in kernel_signal_ring_test.cpp, because sanitizers/run_faults begins with the shortest tests.
// Oracle: the event is in the ring when the eventfd is signalled, and a number that is no eventfd is refused.
TEST_F(kernel_signal, a_program_that_reads_the_ring_is_signalled_after_its_event) {
  const by_handle ctx{blocks};
  for (int round = 0; round < 10; ++round) {
    auto asked = signalling_read(0, efd);
    ASSERT_EQ(ctx.submit({&asked, 1}), 1);
    ASSERT_TRUE(is_signalled(efd));
    ASSERT_EQ(doorbell::test::take(efd.get()), 1U);
    ASSERT_EQ(read_ring(ctx), 1U);
    asked.resfd = static_cast<std::uint32_t>(file.get());
    ASSERT_EQ(ctx.submit({&asked, 1}), -EINVAL);
    asked.resfd = static_cast<std::uint32_t>(-1);
    ASSERT_EQ(ctx.submit({&asked, 1}), -EBADF);
  }
  EXPECT_EQ(magic_of(ctx), ring_magic);
}

// Oracle: io_submit returns, although the pipe is empty and the program has got events by calls.
TEST_F(kernel_signal, a_read_of_a_pipe_does_not_block_submit_after_many_calls) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  const doorbell::test::pipe_ends pipe;
  char text = 0;
  aio::iocb_abi read = aio::prep_pread(pipe.read.get(), &text, 1, 0);
  std::atomic<bool> is_submitted{false};
  doorbell::test::asleep getter{[&] {
    EXPECT_EQ(ctx.submit({&read, 1}), 1);
    is_submitted = true;
    EXPECT_EQ(ctx.events(1).size(), 1U);
  }};
  EXPECT_TRUE(is_submitted);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  getter.join();
  EXPECT_EQ(text, 'x');
}

// While a read that the kernel signals is in flight, a wait with a mask looks for its end every millisecond. Oracle:
// the wait has no timeout, so it returns only with the event.
TEST_F(kernel_signal, a_wait_with_a_mask_and_no_timeout_ends_by_its_event) {
  constexpr std::size_t size = std::size_t{16} << 20;
  const auto large = doorbell::test::temporary_file(std::string(size, 'x'));
  ASSERT_EQ(::fsync(large.get()), 0);
  ASSERT_EQ(::fcntl(large.get(), F_SETFL, O_DIRECT), 0);
  const doorbell::test::buffers into{size / block_size};
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  sigset_t none;
  sigemptyset(&none);
  const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
  for (int round = 0; round < 3; ++round) {
    aio::iocb_abi read = aio::prep_pread(large.get(), into[0], size, 0);
    read.flags = aio::iocb_abi::flag_resfd;
    read.resfd = static_cast<std::uint32_t>(efd.get());
    ASSERT_EQ(ctx.submit({&read, 1}), 1);
    aio::io_event event{};
    ASSERT_EQ(aio::io_pgetevents(ctx.handle(), 1, 1, &event, nullptr, &mask), 1);
    ASSERT_EQ(event.res, static_cast<std::int64_t>(size));
    ASSERT_EQ(take_until(efd.get(), 1), 1U);
  }
}

}  // namespace
