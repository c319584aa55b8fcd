// SPDX-License-Identifier: Apache-2.0
//
// A sandbox that the process enters after its contexts have been created, and persistent errors of io_uring_enter(2).
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <string>

#include "support/by_ring.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::in_child;

class ring_refused : public testing::TestWithParam<int> {
 protected:
  static void refuse() { doorbell::test::refuse(SYS_io_uring_enter, GetParam()); }
};

std::int64_t one_result(aio::context& ctx) {
  std::array<aio::io_event, 1> events{};
  const auto got = ctx.get_events(1, events, 20s);
  return got.empty() ? -ETIME : got[0].res;
}

auto direct_read(int fd) {
  alignas(4096) static std::array<char, 4096> block;
  ::fcntl(fd, F_SETFL, O_DIRECT);
  return aio::prep_pread(fd, block.data(), block.size(), 0);
}

TEST_P(ring_refused, requests_move_to_threads_and_those_in_the_ring_complete) {
  in_child([] {
    const auto file = doorbell::test::temporary_file(std::string(4096, 'x'));
    const doorbell::test::pipe_ends pipe;
    char byte = 0;
    aio::context ctx{8, aio::engine_kind::io_uring};
    doorbell::test::let_ring_have_requests(ctx);
    auto wait = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    ASSERT_EQ(ctx.submit({&wait}), 1U);
    refuse();
    auto read = direct_read(file.get());
    ASSERT_EQ(ctx.submit({&read}), 1U);
    EXPECT_EQ(one_result(ctx), 4096);
    EXPECT_EQ(ctx.engine(), "threads");
    ASSERT_EQ(::write(pipe.write.get(), "b", 1), 1);
    EXPECT_EQ(one_result(ctx), 1);
    EXPECT_EQ(byte, 'b');
  });
}

TEST_P(ring_refused, destroy_returns_although_a_read_waits_for_a_pipe) {
  in_child([] {
    const doorbell::test::pipe_ends pipe;
    char byte = 0;
    aio::context ctx{8, aio::engine_kind::io_uring};
    auto wait = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    ASSERT_EQ(ctx.submit({&wait}), 1U);
    refuse();
    ctx.destroy();
  });
}

TEST_P(ring_refused, a_new_context_uses_threads) {
  in_child([] {
    const aio::context first{8};
    EXPECT_EQ(first.engine(), "io_uring");
    refuse();
    aio::context second{8};
    EXPECT_EQ(second.engine(), "threads");
    const auto file = doorbell::test::temporary_file(std::string(4096, 'x'));
    auto read = direct_read(file.get());
    ASSERT_EQ(second.submit({&read}), 1U);
    EXPECT_EQ(one_result(second), 4096);
  });
}

INSTANTIATE_TEST_SUITE_P(, ring_refused, testing::Values(EPERM, EACCES, ENOSYS));

class enter_fails : public ring_refused {};

// Oracle: the wait ends at its deadline, not before and not a second later, and sleeps meanwhile.
TEST_P(enter_fails, a_wait_ends_at_its_deadline) {
  in_child([] {
    aio::context ctx{8, aio::engine_kind::io_uring};
    refuse();
    timespec before{};
    timespec after{};
    std::array<aio::io_event, 1> events{};
    const auto begun = std::chrono::steady_clock::now();
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    std::error_code ec;
    while (std::chrono::steady_clock::now() - begun < 300ms) {
      EXPECT_TRUE(ctx.get_events(1, events, 300ms, ec).empty());
      if (GetParam() != EINTR) break;  // an interrupted wait correctly returns early
      EXPECT_EQ(ec, std::errc::interrupted);
      ::poll(nullptr, 0, 10);
    }
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 300ms);
    const auto used =
        std::chrono::seconds{after.tv_sec - before.tv_sec} + std::chrono::nanoseconds{after.tv_nsec - before.tv_nsec};
    EXPECT_LT(used, 250ms);
  });
}

INSTANTIATE_TEST_SUITE_P(, enter_fails,
                         testing::Values(EINTR, EAGAIN, EBUSY, ENOMEM, EPERM, EACCES, ENOSYS, EBADF, EOPNOTSUPP, ENXIO,
                                         EINVAL));

}  // namespace
