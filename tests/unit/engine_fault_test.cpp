// SPDX-License-Identifier: Apache-2.0
//
// Contexts over an io_uring that refuses calls: no request is lost, none completes twice, no thread is left asleep.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "failing_uring.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/race.hpp"
#include "support/refused_calls.hpp"
#include "support/watchdog.hpp"

extern "C" {

// NOLINTBEGIN(readability-identifier-naming): the linker's names
int __real_io_uring_submit(io_uring* ring);
int __wrap_io_uring_submit(io_uring* ring) {
  using namespace doorbell::test;
  if (busy_when_full && io_uring_cq_ready(ring) >= ring->cq.ring_entries) return -EBUSY;
  const int refusal = submitting.next();
  if (refusal != 0 && before_a_refusal) before_a_refusal();
  if (refusal != 0) return refusal;
  if (!takes_one_entry) return __real_io_uring_submit(ring);
  ring->sq.sqe_head = ring->sq.sqe_tail;
  io_uring_smp_store_release(ring->sq.ktail, ring->sq.sqe_tail);
  return io_uring_enter(static_cast<unsigned>(ring->ring_fd), 1, 0, 0, nullptr);
}

int __real_io_uring_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, sigset_t* argument,
                           size_t size);
int __wrap_io_uring_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, sigset_t* argument,
                           size_t size) {
  if (doorbell::test::knows_no_timeouts && (flags & IORING_ENTER_EXT_ARG)) return -EINVAL;
  const int refusal = doorbell::test::waiting.next();
  return refusal != 0 ? refusal : __real_io_uring_enter2(fd, to_submit, min_complete, flags, argument, size);
}
// NOLINTEND(readability-identifier-naming)
}

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::submitting;
using doorbell::test::waiting;

/// A context, and a pipe to read from.
class piped_ring {
 public:
  aio::iocb pipe_read() { return aio::prep_pread(pipe.read.get(), text.data(), 1, 0); }

  std::size_t events_within(std::chrono::milliseconds time) {
    std::array<aio::io_event, 256> events{};
    return ctx.get_events(1, events, time).size();
  }

  std::size_t fill(aio::iocb& request) {
    std::size_t taken = 0;
    std::error_code ec;
    while (ctx.submit({&request}, ec) == 1) ++taken;
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    return taken;
  }

  const doorbell::test::watchdog dog;
  doorbell::test::pipe_ends pipe;
  std::array<char, 8> text{};
  aio::context ctx{8, aio::engine_kind::io_uring};
  const doorbell::test::injections injected;
};

class refusing_uring : public testing::Test, protected piped_ring {};

// In a process that gets no thread, requests that wait are in the ring.
template <class Body>
void without_threads(Body body) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  doorbell::test::in_child([&] {
    doorbell::test::refuse(SYS_clone3, EAGAIN);
    body();
  });
}

class refused_with : public refusing_uring, public testing::WithParamInterface<int> {};

// Oracle: a refused request has no event, an accepted request has one, and no slot is lost.
TEST_P(refused_with, submit_returns_try_again_and_can_be_repeated) {
  without_threads([] {
    piped_ring ring;
    auto read = ring.pipe_read();
    // Often enough to fill the submission queue with refused requests.
    submitting.inject(GetParam(), 1000);
    for (int times = 0; times < 100; ++times) {
      std::error_code ec;
      EXPECT_EQ(ring.ctx.submit({&read, &read, &read}, ec), 0U);
      EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    }
    submitting.stop();
    EXPECT_EQ(ring.ctx.submit({&read}), 1U);
    ASSERT_EQ(::write(ring.pipe.write.get(), "xyz", 3), 3);
    EXPECT_EQ(ring.events_within(20s), 1U);
    EXPECT_EQ(ring.events_within(0ms), 0U);
    EXPECT_EQ(::read(ring.pipe.read.get(), ring.text.data(), 3), 2);
    EXPECT_EQ(ring.fill(read), 126U);
  });
}

// Oracle: the refused cancel has no effect, neither on the request nor on a later one at the same address.
TEST_P(refused_with, cancel_returns_try_again_and_does_not_affect_the_request) {
  without_threads([] {
    piped_ring ring;
    auto read = ring.pipe_read();
    ASSERT_EQ(ring.ctx.submit({&read}), 1U);
    submitting.inject(GetParam(), 1000);
    std::error_code ec;
    ring.ctx.cancel(read, ec);
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    submitting.stop();
    ASSERT_EQ(::write(ring.pipe.write.get(), "x", 1), 1);
    std::array<aio::io_event, 1> events{};
    ASSERT_EQ(ring.ctx.get_events(1, events, 20s).size(), 1U);
    EXPECT_EQ(events[0].res, 1);
    ASSERT_EQ(ring.ctx.submit({&read}), 1U);
    EXPECT_EQ(ring.events_within(0ms), 0U);
    ring.ctx.cancel(read);
    EXPECT_EQ(ring.events_within(20s), 1U);
  });
}

// Oracle: destroy returns, and after that no request takes the byte.
TEST_P(refused_with, destroy_cancels_although_the_ring_refuses) {
  without_threads([] {
    piped_ring ring;
    auto read = ring.pipe_read();
    (void)ring.fill(read);
    submitting.inject(GetParam(), 200);
    ring.ctx.destroy();
    EXPECT_TRUE(submitting.over());
    ASSERT_EQ(::write(ring.pipe.write.get(), "x", 1), 1);
    EXPECT_EQ(::read(ring.pipe.read.get(), ring.text.data(), 1), 1);
  });
}

// Oracle: the sleeper, which only a wake can reach, learns that the context has gone.
TEST_P(refused_with, destroy_wakes_a_sleeper_although_the_ring_refuses) {
  std::error_code ec;
  doorbell::test::asleep sleeper{[&] {
    std::array<aio::io_event, 1> events{};
    (void)ctx.get_events(1, events, ec);
  }};
  submitting.inject(GetParam(), 20);
  ctx.destroy();
  sleeper.join();
  EXPECT_EQ(ec, std::errc::invalid_argument);
}

// Oracle: the wait goes on until there is an event. The thread waits in the ring while the I/O threads have no
// requests.
TEST_P(refused_with, a_refused_wait_is_retried) {
  auto read = pipe_read();
  waiting.inject(GetParam(), 20);
  std::jthread writer{[&] {
    while (!waiting.over()) std::this_thread::yield();
    EXPECT_EQ(ctx.submit({&read}), 1U);
    EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1);
  }};
  EXPECT_EQ(events_within(20s), 1U);
}

INSTANTIATE_TEST_SUITE_P(, refused_with, testing::Values(EAGAIN, EBUSY, ENOMEM));

TEST_F(refusing_uring, an_interrupted_submit_is_retried) {
  submitting.inject(EINTR, 3);
  auto read = pipe_read();
  EXPECT_EQ(ctx.submit({&read, &read}), 2U);
}

// The thread waits in the ring while the I/O threads have no requests.
TEST_F(refusing_uring, an_interrupted_wait_returns_an_error_and_loses_nothing) {
  auto read = pipe_read();
  waiting.inject(EINTR, 1);
  std::array<aio::io_event, 1> events{};
  std::error_code ec;
  EXPECT_TRUE(ctx.get_events(1, events, ec).empty());
  EXPECT_EQ(ec, std::errc::interrupted);
  ASSERT_EQ(ctx.submit({&read}), 1U);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(events_within(20s), 1U);
}

// Oracle: the descriptor becomes readable for each accepted request, although the ring refuses one submitter's read of
// the I/O threads' eventfd (engine_uring::watch()) while the other submitter starts its request.
TEST_F(refusing_uring, a_request_is_announced_although_the_ring_refuses_another_submitters_watch) {
  std::error_code ec;
  const int descriptor = ctx.descriptor(ec);
  ASSERT_FALSE(ec);
  auto mine = pipe_read();
  auto others = pipe_read();
  std::size_t taken = 0;
  std::optional<doorbell::test::asleep> other;
  submitting.inject(ENOMEM, 1);
  doorbell::test::before_a_refusal = [&] {
    other.emplace([&] {
      std::error_code refused;
      taken = ctx.submit({&others}, refused);
    });
  };
  const auto taken_of_mine = ctx.submit({&mine}, ec);
  ASSERT_TRUE(other);
  other->join();
  ASSERT_EQ(::write(pipe.write.get(), "xx", 2), 2);
  for (std::size_t left = taken + taken_of_mine; left > 0;) {
    pollfd readable{.fd = descriptor, .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&readable, 1, 20'000), 1) << left << " requests are not announced";
    std::array<aio::io_event, 2> events{};
    left -= ctx.get_events(0, events).size();
  }
  EXPECT_EQ(taken, 1U);
}

TEST_F(refusing_uring, destroy_is_not_interrupted) {
  auto read = pipe_read();
  (void)fill(read);
  waiting.inject(EINTR, 5);
  submitting.inject(EINTR, 5);
  ctx.destroy();
  EXPECT_EQ(ctx.handle(), 0U);
}

// Each cancel makes two completions, its own and that of the request: more than fit into the completion queue.
TEST_F(refusing_uring, destroy_reaps_to_make_room_while_completions_overflow) {
  auto read = pipe_read();
  EXPECT_EQ(fill(read), 126U);
  doorbell::test::busy_when_full = true;
  ctx.destroy();
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
}

// Oracle: although every third call is refused, each accepted request has signalled its eventfd once when destroy ends.
TEST(refusing_uring_stress, each_accepted_request_signals_once) {
  const doorbell::test::injections injected;
  const doorbell::test::pipe_ends pipe;
  const doorbell::eventfd efd{0, EFD_NONBLOCK};
  std::array<char, 8> text{};
  std::optional<aio::context> ctx;
  std::atomic<std::uint64_t> taken{0};
  const auto use = [&] {
    auto read = aio::prep_pread(pipe.read.get(), text.data(), 1, 0);
    auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
    read.set_eventfd(efd);
    poll.set_eventfd(efd);
    for (std::error_code ec; ec != std::errc::invalid_argument;) {
      taken += ctx->submit({&read, &poll, &read}, ec);
      std::error_code any;
      ctx->cancel(read, any);
      std::array<aio::io_event, 4> events{};
      (void)ctx->get_events(1, events, 100us, any);
    }
  };
  submitting.inject_every(EAGAIN, 3);
  doorbell::test::race(
      3, doorbell::test::budget{300},
      [&] {
        taken = 0;
        ctx.emplace(8, aio::engine_kind::io_uring);
      },
      [&](std::size_t me) {
        if (me > 0) return use();
        while (taken < 10) std::this_thread::yield();
        ctx->destroy();
      },
      [&] {
        std::error_code none;
        EXPECT_EQ(efd.read(none), taken);
      });
}

}  // namespace
