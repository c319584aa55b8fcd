// SPDX-License-Identifier: Apache-2.0
//
// forward_to: what another process does to the target between two system calls of a signal. The other process is the
// parent of the signalling one, and acts when one of the child's calls waits for it.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>

#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/forwarded.hpp"
#include "support/refused_calls.hpp"
#include "support/supervised_child.hpp"

namespace {

using doorbell::eventfd;
using doorbell::test::eventually;
using doorbell::test::gets;
using doorbell::test::give;
using doorbell::test::kernel_eventfd;
using doorbell::test::supervised_call;
using doorbell::test::supervised_child;
using doorbell::test::take;
using namespace std::chrono_literals;

/// poll(2) of this architecture.
#ifdef SYS_poll
constexpr std::array<long, 2> polls{SYS_poll, SYS_ppoll};
#else
constexpr std::array<long, 1> polls{SYS_ppoll};
#endif

// Oracle: the sum of the counts that are read is the sum of the counts that were signalled, whichever check of the flag
// is the first to find the target blocking. Afterwards, the eventfd reserves no room for a count that has arrived.
TEST(forward_supervised, neither_loses_nor_duplicates_a_count_if_o_nonblock_is_cleared_between_two_writes) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "needs seccomp(2)";
  constexpr std::uint64_t room = 11;
  constexpr std::uint64_t signalled = 13;
  const std::array<long, 1> calls{SYS_fcntl};
  for (int cleared_at = 1; cleared_at <= 7; ++cleared_at) {
    SCOPED_TRACE(cleared_at);
    const auto there = kernel_eventfd();
    ASSERT_TRUE(give(there.get(), eventfd::max - room));
    supervised_child child{calls, [&] {
                             const eventfd efd{0, EFD_NONBLOCK};
                             efd.forward_to(there.get());
                             efd.signal(signalled);
                             std::uint64_t sum = take(there.get()) - (eventfd::max - room);
                             EXPECT_LE(sum, room);
                             efd.write(0);
                             EXPECT_TRUE(sum == signalled || gets(there, signalled - sum));
                             EXPECT_EQ(efd.info().count, 0U);
                             efd.stop_forwarding();
                             efd.write(eventfd::max);
                             EXPECT_EQ(efd.read(), eventfd::max);
                           }};
    int checks = 0;
    child.supervise(20s, [&](const supervised_call& asked) {
      if (asked.arguments[1] == F_GETFL && ++checks == cleared_at) ::fcntl(there.get(), F_SETFL, O_RDWR);
      return supervised_child::pass;
    });
    EXPECT_GE(checks, cleared_at);
    if (HasFailure()) return;
  }
}

// Oracle: the count of a signal is in the target when the signal returns, although the target was full when the
// signalling thread checked it. No helper thread can be started, which would wait for room.
TEST(forward_supervised, moves_a_count_into_room_that_appears_after_the_check_for_room) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "needs seccomp(2)";
  const auto there = kernel_eventfd(0, 0);
  ASSERT_TRUE(give(there.get(), eventfd::max));
  supervised_child child{polls, [&] {
                           doorbell::test::refuse(SYS_clone3, ENOSYS);
                           doorbell::test::refuse(SYS_clone, EAGAIN);
                           const eventfd efd;
                           efd.forward_to(there.get());
                           efd.signal();
                           EXPECT_EQ(efd.info().count, 0U);
                           EXPECT_EQ(take(there.get()), 1U);
                         }};
  bool is_first = true;
  child.supervise(20s, [&](const supervised_call&) {
    if (!std::exchange(is_first, false)) return supervised_child::pass;
    EXPECT_EQ(take(there.get()), eventfd::max);
    return EINTR;  // as if the check had found no room
  });
  EXPECT_FALSE(is_first);
}

// Oracle: a thread that stops an idle forwarding makes no system call that could let it sleep.
TEST(forward_supervised, stopped_without_a_count_in_flight_does_not_wait) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "needs seccomp(2)";
  const std::array<long, 1> calls{SYS_futex};
  supervised_child child{calls, [] {
                           const auto there = kernel_eventfd();
                           const eventfd efd;
                           efd.forward_to(there.get());
                           efd.signal(3);
                           efd.stop_forwarding();
                           EXPECT_EQ(take(there.get()), 3U);
                         }};
  int waits = 0;
  child.supervise(20s, [&](const supervised_call& asked) {
    const auto operation = static_cast<int>(asked.arguments[1]) & FUTEX_CMD_MASK;
    waits += asked.thread == child.pid() && (operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET);
    return supervised_child::pass;
  });
  EXPECT_EQ(waits, 0);
}

// Oracle: the function that the AIO layer asks reports counts that have not arrived, and none when all have.
TEST(forward_waiting_counts, are_reported_until_they_have_arrived) {
  const eventfd efd{0, EFD_NONBLOCK};
  auto& context = *efd.context();
  EXPECT_FALSE(context.has_waiting_counts());
  efd.signal();
  EXPECT_TRUE(context.has_waiting_counts());
  for (const int flags : {static_cast<int>(EFD_NONBLOCK), 0}) {
    const auto there = kernel_eventfd(0, flags);
    efd.forward_to(there.get());
    EXPECT_TRUE(gets(there, flags == 0 ? 0 : 1));
    EXPECT_FALSE(context.has_waiting_counts());
    ASSERT_TRUE(give(there.get(), eventfd::max));
    efd.signal(3);
    EXPECT_TRUE(context.has_waiting_counts());
    EXPECT_EQ(take(there.get()), eventfd::max);
    if (flags != 0) efd.write(0);  // otherwise a helper thread waits for room
    EXPECT_TRUE(gets(there, 3));
    EXPECT_TRUE(eventually([&] { return !context.has_waiting_counts(); }));
    efd.stop_forwarding();
  }
}

// Oracle: the function returns the part of its argument that does not fit, and the rest arrives. The argument is not
// part of the eventfd's count.
TEST(forward_directly, returns_the_amount_that_does_not_fit) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  EXPECT_EQ(efd.context()->forward_directly(3), 0U);
  EXPECT_EQ(take(there.get()), 3U);
  ASSERT_TRUE(give(there.get(), eventfd::max - 5));
  EXPECT_EQ(efd.context()->forward_directly(13), 8U);
  EXPECT_EQ(take(there.get()), eventfd::max);
  EXPECT_EQ(efd.info().count, 0U);
}

}  // namespace
