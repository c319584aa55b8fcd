// SPDX-License-Identifier: Apache-2.0
//
// Sleeps in io_getevents leave no memory and no descriptors behind, however they end: by a timeout, with their thread,
// by a jump out of a signal handler, or because the handler destroys the context.
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <thread>
#include <vector>

#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/in_handler.hpp"
#include "support/inventory.hpp"
#include "support/sanitizer.hpp"
#include "support/watchdog.hpp"

namespace {

namespace aio = doorbell::aio;

/// The bytes that are allocated now. A sanitizer has an allocator of its own, and this stays 0.
std::size_t bytes_allocated() { return ::mallinfo2().uordblks; }

/// Calls `body` many times. Oracle: the process then has the descriptors that it had before. Its memory may have grown,
/// for each call, by less than the size of any object of the library; memory that the library keeps does not count.
template <class Body>
void expect_no_growth(Body body) {
  constexpr std::size_t rounds = doorbell::test::sanitized ? 200 : 2000;
  constexpr std::size_t kept = 32768;
  constexpr std::size_t tolerance = kept + rounds * 24;
  for (int first = 0; first < 3; ++first) body();  // creates the objects that are used again
  const auto before = doorbell::test::inventory::now();
  const auto bytes_before = bytes_allocated();
  for (std::size_t round = 0; round < rounds; ++round) body();
  EXPECT_LT(bytes_allocated(), bytes_before + tolerance);
  EXPECT_EQ(doorbell::test::inventory::settled(before), before);
}

class aio_sleep_leaks : public testing::Test {
 protected:
  aio_sleep_leaks() {
    sigset_t usual;
    sigemptyset(&usual);
    sigaddset(&usual, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &usual, &before_);
  }
  ~aio_sleep_leaks() override { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  /// Waits for an event that does not come. @return the result of the wait.
  static int sleep(aio::aio_context_t ctx, long nanoseconds = 1) {
    aio::io_event event{};
    timespec limit{.tv_sec = 0, .tv_nsec = nanoseconds};
    return aio::io_getevents(ctx, 1, 1, &event, &limit);
  }

  /// Waits until the handler of SIGUSR1 has interrupted the wait. The signal is pending before the call, and the wait
  /// unblocks it.
  static int sleep_until_handler(aio::aio_context_t ctx) {
    sigset_t none;
    sigemptyset(&none);
    const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
    ::raise(SIGUSR1);
    aio::io_event event{};
    return aio::io_pgetevents(ctx, 1, 1, &event, nullptr, &mask);
  }

  static void jump_out_of_sleep(aio::aio_context_t ctx) {
    const doorbell::test::in_handler handler{[] { siglongjmp(left_at_, 1); }};
    if (sigsetjmp(left_at_, 1) != 0) return;
    const int answer = sleep_until_handler(ctx);
    ADD_FAILURE() << "io_pgetevents returned " << answer;
  }

  static void jump_out_of_sleep_without_mask(aio::aio_context_t ctx) {
    const doorbell::test::in_handler handler{[] { siglongjmp(left_at_, 1); }};
    doorbell::test::alarm_clock clock;
    sigset_t usual;
    sigemptyset(&usual);
    sigaddset(&usual, SIGUSR1);
    if (sigsetjmp(left_at_, 1) != 0) return;
    ::pthread_sigmask(SIG_UNBLOCK, &usual, nullptr);
    ASSERT_TRUE(clock.set(50'000'000));
    aio::io_event event{};
    const int answer = aio::io_getevents(ctx, 1, 1, &event, nullptr);
    ADD_FAILURE() << "io_getevents returned " << answer;
  }

  const doorbell::test::watchdog dog_;

 private:
  static inline sigjmp_buf left_at_;  // used by the only thread that jumps
  sigset_t before_{};
};

/// A context of a test.
struct context {
  context() { EXPECT_EQ(aio::io_setup(8, &handle), 0); }
  ~context() {
    if (handle == 0) return;
    EXPECT_EQ(aio::io_destroy(handle), 0);
  }
  context(const context&) = delete;
  context& operator=(const context&) = delete;

  aio::aio_context_t handle = 0;
};

TEST_F(aio_sleep_leaks, many_sleeps_of_a_thread_leave_nothing) {
  const context ctx;
  expect_no_growth([&] { EXPECT_EQ(sleep(ctx.handle), 0); });
}

TEST_F(aio_sleep_leaks, sleeps_of_ended_threads_leave_nothing) {
  const context ctx;
  expect_no_growth([&] { std::thread{[&] { EXPECT_EQ(sleep(ctx.handle), 0); }}.join(); });
}

// Oracle: each of two threads gets its own event, although both began to sleep after a thread that had slept ended.
TEST_F(aio_sleep_leaks, two_sleepers_after_an_ended_one_get_their_events) {
  const context ctx;
  std::thread{[&] { EXPECT_EQ(sleep(ctx.handle), 0); }}.join();
  const std::array<context, 2> contexts;
  const std::array<doorbell::test::pipe_ends, 2> pipes;
  std::array<char, 2> text{};
  const auto get = [&](std::size_t which) {
    auto read = aio::prep_pread(pipes[which].read.get(), &text[which], 1, 0);
    aio::iocb_abi* asked = &read;
    EXPECT_EQ(aio::io_submit(contexts[which].handle, 1, &asked), 1);
    aio::io_event event{};
    EXPECT_EQ(aio::io_getevents(contexts[which].handle, 1, 1, &event, nullptr), 1);
    EXPECT_EQ(event.res, 1);
  };
  doorbell::test::asleep first{[&] { get(0); }};
  doorbell::test::asleep second{[&] { get(1); }};
  ASSERT_EQ(::write(pipes[0].write.get(), "x", 1), 1);
  first.join();
  ASSERT_EQ(::write(pipes[1].write.get(), "x", 1), 1);
  second.join();
}

// The thread's next call ends the sleep that it has left.
TEST_F(aio_sleep_leaks, jumps_out_of_sleeps_on_a_live_context_leave_nothing) {
  const context ctx;
  const auto round = [&] {
    jump_out_of_sleep(ctx.handle);
    EXPECT_EQ(sleep(ctx.handle), 0);
  };
  round();
  const auto before = doorbell::test::inventory::now();
  round();
  const auto after = doorbell::test::inventory::now();
  ASSERT_EQ(after.descriptors, before.descriptors);
  ASSERT_EQ(after.mappings, before.mappings);
  expect_no_growth(round);
}

TEST_F(aio_sleep_leaks, destroys_by_the_handler_that_interrupts_the_sleep_leave_nothing) {
  expect_no_growth([] {
    context ctx;
    const doorbell::test::in_handler handler{[&] { EXPECT_EQ(aio::io_destroy(ctx.handle), 0); }};
    EXPECT_EQ(sleep_until_handler(ctx.handle), -EINTR);
    ctx.handle = 0;
  });
}

// Freed memory is overwritten, so a thread that uses the context after its end crashes, or has another result.
TEST_F(aio_sleep_leaks, a_sleep_whose_context_a_handler_destroys_does_not_use_freed_memory) {
  doorbell::test::in_child([] {
    ::mallopt(M_PERTURB, 0xa5);
    for (int round = 0; round < 20; ++round) {
      context ctx;
      const doorbell::test::in_handler handler{[&] { EXPECT_EQ(aio::io_destroy(ctx.handle), 0); }};
      EXPECT_EQ(sleep_until_handler(ctx.handle), -EINTR);
      ctx.handle = 0;
    }
  });
}

// Oracle: the interrupted sleep does not change memory that the program has allocated after io_destroy returned in the
// handler: the context's own memory is not free yet.
TEST_F(aio_sleep_leaks, a_sleep_whose_context_a_handler_destroys_does_not_change_memory_of_the_program) {
  {
    const context first;  // creates the objects that exist once per process
  }
  context ctx;
  constexpr std::size_t smallest = 512;
  constexpr std::size_t largest = 16384;  // more than a context
  constexpr unsigned char filling = 0xa5;
  std::vector<std::vector<unsigned char>> blocks;
  blocks.reserve(largest / 16);
  const doorbell::test::in_handler handler{[&] {
    EXPECT_EQ(aio::io_destroy(ctx.handle), 0);
    // The largest that fits into the memory of the context covers most of it.
    for (auto size = largest; size >= smallest; size -= 16) blocks.emplace_back(size, filling);
  }};
  EXPECT_EQ(sleep_until_handler(ctx.handle), -EINTR);
  ctx.handle = 0;
  for (const auto& each : blocks)
    EXPECT_TRUE(std::ranges::all_of(each, [](auto byte) { return byte == filling; })) << each.size();
}

// Oracle: when io_destroy returns, the context's memory and descriptors are gone, although the thread that has left its
// sleep does not make another call.
TEST_F(aio_sleep_leaks, destroy_frees_the_ring_while_a_thread_that_jumped_out_makes_no_call) {
  {
    const context first;  // creates the objects that exist once per process
    EXPECT_EQ(sleep(first.handle), 0);
  }
  std::thread{[] {}}.join();  // with the first thread, ThreadSanitizer starts one of its own
  const auto before = doorbell::test::inventory::now();
  aio::aio_context_t handle = 0;
  ASSERT_EQ(aio::io_setup(8, &handle), 0);
  std::atomic<bool> may_end{false};
  std::atomic<bool> has_jumped{false};
  std::jthread other{[&] {
    jump_out_of_sleep_without_mask(handle);
    has_jumped = true;
    has_jumped.notify_all();
    may_end.wait(false);
  }};
  has_jumped.wait(false);
  EXPECT_EQ(aio::io_destroy(handle), 0);
  auto with_thread = before;
  ++with_thread.threads;
  EXPECT_EQ(doorbell::test::inventory::settled(with_thread), with_thread);
  EXPECT_EQ(::msync(reinterpret_cast<void*>(handle), 1, MS_ASYNC), -1);
  may_end = true;
  may_end.notify_all();
}

// A wait with a mask that got no descriptor leaves no state that would make a later sleep without a mask look like one
// with a mask.
TEST_F(aio_sleep_leaks, a_jump_after_a_wait_that_got_no_descriptor_leaves_nothing) {
  const context ctx;
  sigset_t none;
  sigemptyset(&none);
  const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
  aio::io_event event{};
  int answer = 0;
  {
    const doorbell::test::no_more_fds limit;
    answer = aio::io_pgetevents(ctx.handle, 1, 1, &event, nullptr, &mask);
  }
  EXPECT_EQ(answer, -EMFILE);
  jump_out_of_sleep_without_mask(ctx.handle);
  EXPECT_EQ(sleep(ctx.handle), 0);
}

}  // namespace
