// SPDX-License-Identifier: Apache-2.0
//
// epoll_ctl(2) fails in a process in which threads of the library already run: requests that need it end with an error
// or are refused, the others complete, and no file stays open.
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ostream>
#include <system_error>

#include "support/child.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::error_of;
using doorbell::test::in_child;

struct refusal {
  int error;
  std::int64_t answer;  // the result of a request that waits for a pipe

  friend std::ostream& operator<<(std::ostream& out, const refusal& each) { return out << "errno_" << each.error; }
};

/// A context whose I/O threads have been started, by a poll that waits.
class with_io_threads {
 public:
  with_io_threads() { EXPECT_EQ(ctx.submit({&earlier_}), 1U); }

  std::int64_t result_of(const aio::iocb& which) {
    std::array<aio::io_event, 1> events{};
    if (ctx.get_events(1, events, 20s).size() != 1) return -ETIME;
    EXPECT_EQ(events[0].obj, &which);
    return events[0].res;
  }
  /// Its file was added to the epoll before the refusal.
  void expect_earlier_request_completes() {
    ASSERT_EQ(::write(pipe_.write.get(), "x", 1), 1);
    EXPECT_EQ(result_of(earlier_) & POLLIN, POLLIN);
  }

  aio::context ctx{8, aio::engine_kind::threads};

 private:
  doorbell::test::pipe_ends pipe_;
  aio::iocb earlier_ = aio::prep_poll(pipe_.read.get(), POLLIN);
};

// Waits until the poller thread has added the files of all earlier requests: it adds them in order, and the last one
// completes.
void wait_for_poller(with_io_threads& io_threads) {
  const doorbell::test::pipe_ends pipe;
  auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
  ASSERT_EQ(io_threads.ctx.submit({&poll}), 1U);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(io_threads.result_of(poll) & POLLIN, POLLIN);
}

void expect_nobody_reads(doorbell::test::pipe_ends& pipe) {
  pipe.read.reset();
  std::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(::write(pipe.write.get(), "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
}

class epoll_refuses : public testing::TestWithParam<refusal> {
 protected:
  void SetUp() override {
    if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  }
  static void refuse(std::uint32_t operation) {
    doorbell::test::refuse_value(SYS_epoll_ctl, GetParam().error, 1, operation);
  }
};

// Oracle: the new requests end with the error, the earlier one completes, and the I/O threads keep no file open.
TEST_P(epoll_refuses, new_files_and_their_requests_end_with_the_error) {
  in_child([] {
    doorbell::test::pipe_ends pipe;
    char byte = 0;
    with_io_threads io_threads;
    wait_for_poller(io_threads);
    refuse(EPOLL_CTL_ADD);
    auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
    ASSERT_EQ(io_threads.ctx.submit({&poll}), 1U);
    EXPECT_EQ(io_threads.result_of(poll), GetParam().answer);
    auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    ASSERT_EQ(io_threads.ctx.submit({&read}), 1U);
    EXPECT_EQ(io_threads.result_of(read), GetParam().answer);
    io_threads.expect_earlier_request_completes();
    io_threads.ctx.destroy();
    expect_nobody_reads(pipe);
  });
}

// Two reads wait for a pipe that gets one byte. Oracle: one read gets the byte; the other read would have to wait
// again, and ends with EAGAIN.
TEST_P(epoll_refuses, to_wait_again_so_the_request_ends_with_try_again) {
  in_child([] {
    doorbell::test::pipe_ends pipe;
    std::array<char, 2> bytes{};
    with_io_threads io_threads;
    auto one = aio::prep_pread(pipe.read.get(), &bytes[0], 1, 0);
    auto other = aio::prep_pread(pipe.read.get(), &bytes[1], 1, 0);
    ASSERT_EQ(io_threads.ctx.submit({&one, &other}), 2U);
    wait_for_poller(io_threads);
    refuse(EPOLL_CTL_MOD);
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    std::array<aio::io_event, 2> events{};
    ASSERT_EQ(io_threads.ctx.get_events(2, events, 20s).size(), 2U);
    std::array results{events[0].res, events[1].res};
    std::ranges::sort(results);
    EXPECT_EQ(results[0], -EAGAIN);
    EXPECT_EQ(results[1], 1);
    io_threads.expect_earlier_request_completes();
    io_threads.ctx.destroy();
    expect_nobody_reads(pipe);
  });
}

void expect_signalled(aio::context& ctx, const doorbell::test::pipe_ends& pipe, const doorbell::eventfd& efd) {
  auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
  poll.set_eventfd(efd);
  ASSERT_EQ(ctx.submit({&poll}), 1U);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(efd.read(), 1U);
}

// Oracle: each submit is refused with the error, also the second one, which must not assume that the first one has
// arranged for its eventfd to be signalled; another context is not affected.
TEST_P(epoll_refuses, the_descriptor_of_a_context_and_its_requests_with_an_eventfd_are_refused) {
  for (const bool asks_for_events : {false, true}) {
    in_child([&] {
      const doorbell::test::pipe_ends pipe;
      const doorbell::eventfd efd{0, 0};
      aio::context refused{8};
      std::array<aio::io_event, 1> none{};
      if (asks_for_events) {
        EXPECT_TRUE(refused.get_events(0, none).empty());
      }
      std::error_code ec;
      const int descriptor = refused.descriptor(ec);
      ASSERT_GE(descriptor, 0);
      doorbell::test::refuse_value(SYS_epoll_ctl, GetParam().error, 2, static_cast<std::uint32_t>(descriptor));
      auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
      poll.set_eventfd(efd);
      for (int times = 0; times < 2; ++times) {
        const auto told = error_of([&](auto& set) { EXPECT_EQ(refused.submit({&poll}, set), 0U); });
        EXPECT_EQ(told.value(), GetParam().error);
      }
      EXPECT_TRUE(refused.get_events(0, none).empty());
      aio::context other{8};
      expect_signalled(other, pipe, efd);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(, epoll_refuses,
                         testing::Values(refusal{EMFILE, -EAGAIN}, refusal{ENFILE, -EAGAIN}, refusal{ENOMEM, -EAGAIN},
                                         refusal{ENOSPC, -EAGAIN}, refusal{EAGAIN, -EAGAIN}, refusal{EPERM, -EPERM},
                                         refusal{EINVAL, -EINVAL}),
                         testing::PrintToStringParamName());

}  // namespace
