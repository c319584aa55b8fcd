// SPDX-License-Identifier: Apache-2.0
//
// forward_to: the threads that write to kernel eventfds that may block, when there are too many, too few or none.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/forwarded.hpp"
#include "support/refused_calls.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::eventfd;
using doorbell::test::eventually;
using doorbell::test::gets;
using doorbell::test::give;
using doorbell::test::in_child;
using doorbell::test::kernel_eventfd;
using doorbell::test::run_together;
using doorbell::test::take;
using doorbell::test::unique_fd;

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr int blocking = 0;

/// For each helper thread of this process, the number of the system call that it sleeps in, or another word if it does
/// not sleep. A helper thread is not found before it has set its name.
std::vector<std::string> calls_of_helpers() {
  std::vector<std::string> calls;
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::string name;
    std::string call;
    std::ifstream{task.path() / "comm"} >> name;  // empty if the thread has ended
    std::ifstream{task.path() / "syscall"} >> call;
    if (name == "doorbell-fwd") calls.push_back(call);
  }
  return calls;
}

/// The number of helper threads of this process.
std::size_t helpers() { return calls_of_helpers().size(); }

std::ptrdiff_t descriptors() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, std::filesystem::directory_iterator{});
}

bool is_in_futex(const std::string& call) { return call == std::to_string(SYS_futex); }

bool is_in_poll(const std::string& call) {
#ifdef SYS_poll
  if (call == std::to_string(SYS_poll)) return true;
#endif
  return call == std::to_string(SYS_ppoll);
}

/// Whether no helper thread has work: each sleeps on a futex, or has ended after its idle time. The caller must know
/// that a helper thread has started: before that, none is found.
bool are_helpers_idle_or_ended() { return std::ranges::all_of(calls_of_helpers(), is_in_futex); }

/// Whether a helper thread polls an eventfd for room.
bool is_a_helper_waiting_for_room() { return std::ranges::any_of(calls_of_helpers(), is_in_poll); }

/// Signals n, and n again when the helper thread is idle; expects that one helper thread has moved both counts.
/// @return false if this took so long that the helper thread may have ended meanwhile.
bool moves_two_counts_by_one_helper(const eventfd& efd, const unique_fd& there, std::uint64_t n) {
  const auto begin = steady_clock::now();
  efd.signal(n);
  EXPECT_TRUE(gets(there, n));
  const auto first = helpers();
  EXPECT_TRUE(eventually(are_helpers_idle_or_ended));
  efd.signal(n);
  EXPECT_TRUE(gets(there, n));
  const auto second = helpers();
  if (steady_clock::now() - begin >= 4s) return false;
  EXPECT_EQ(first, 1U);
  EXPECT_EQ(second, 1U) << "the idle helper must be reused";
  return true;
}

/// A kernel eventfd without room, and an eventfd that forwards to it. A helper thread waits for room as soon as a count
/// has been signalled.
struct full_target {
  full_target() {
    EXPECT_TRUE(give(there.get(), eventfd::max));
    efd.forward_to(there.get());
  }
  const unique_fd there = kernel_eventfd(0, blocking);
  const eventfd efd;
};

TEST(forward_helper, is_not_started_for_a_nonblocking_eventfd) {
  in_child([] {
    const auto there = kernel_eventfd();
    EXPECT_TRUE(give(there.get(), eventfd::max - 2));
    const eventfd efd;
    efd.forward_to(there.get());
    for (int signals = 0; signals < 3; ++signals) efd.signal(3);
    EXPECT_EQ(efd.info().count, 7U);
    EXPECT_EQ(helpers(), 0U);
  });
}

// Oracle: one helper thread moves two counts, the second of which wakes it before its idle time of 5 s has passed; then
// it ends.
TEST(forward_helper, ends_after_its_idle_time_and_is_started_again) {
  in_child([] {
    const auto there = kernel_eventfd(0, blocking);
    const eventfd efd;
    efd.forward_to(there.get());
    for (std::uint64_t n = 1; n <= 2; ++n) {
      bool is_in_time = false;
      for (int tries = 0; tries < 3 && !is_in_time; ++tries) {
        is_in_time = moves_two_counts_by_one_helper(efd, there, n);
        EXPECT_TRUE(eventually([] { return helpers() == 0; }));
      }
      ASSERT_TRUE(is_in_time)
          << "in each try, the second count was moved late, perhaps only when the helper ended after its idle time";
    }
  });
}

// Oracle: a count arrives although each existing helper thread waits for room elsewhere, and the waiting counts arrive
// when there is room.
TEST(forward_helper, is_started_for_an_eventfd_while_many_others_are_full) {
  in_child([] {
    std::array<full_target, 6> full;
    // Some of the signalling threads wait for a helper thread concurrently.
    run_together(full.size(), [&](std::size_t index) { full.at(index).efd.signal(3); });
    const auto there = kernel_eventfd(0, blocking);
    const eventfd efd;
    efd.forward_to(there.get());
    efd.signal(5);
    EXPECT_TRUE(gets(there, 5));
    for (const auto& each : full) {
      EXPECT_TRUE(eventually([&] { return each.efd.info().count == 3; }));
      EXPECT_EQ(take(each.there.get()), eventfd::max);
    }
    for (const auto& each : full) EXPECT_TRUE(gets(each.there, 3));
  });
}

// Oracle: when forwarding has ended, none of its descriptors is open, also if the helper waited for room.
TEST(forward_helper, keeps_no_descriptor_after_forwarding_has_ended) {
  in_child([] {
    const auto run = [] {
      full_target full;
      const auto there = kernel_eventfd(0, blocking);
      const eventfd efd;
      efd.forward_to(there.get());
      for (const std::uint64_t n : {1U, 2U}) {
        full.efd.signal(n);
        efd.signal(n);
        EXPECT_TRUE(gets(there, n));
      }
    };
    run();  // also makes objects that the library keeps for the whole process
    const auto before = descriptors();
    run();
    EXPECT_TRUE(eventually([&] { return descriptors() <= before; }));
  });
}

// Oracle: the child's counts arrive, although the child has none of the helper threads of its parent, at least one of
// which waits for room.
TEST(forward_helper, of_the_parent_is_replaced_in_a_child) {
  const auto there = kernel_eventfd(0, blocking);
  const eventfd efd;
  efd.forward_to(there.get());
  efd.signal();
  EXPECT_TRUE(gets(there, 1));
  const full_target full;
  full.efd.signal(5);
  in_child([&] {
    efd.signal(2);
    EXPECT_TRUE(gets(there, 2));
    EXPECT_EQ(full.efd.info().count, 0U) << "the waiting count is the parent's";
    full.efd.signal(2);
    EXPECT_EQ(full.efd.info().count, 2U);
    EXPECT_EQ(take(full.there.get()), eventfd::max);
    EXPECT_TRUE(gets(full.there, 7)) << "2 of the child and 5 of the parent";
  });
  efd.signal(4);
  EXPECT_TRUE(gets(there, 4));
  EXPECT_EQ(full.efd.info().count, 0U);
}

// Oracle: when the blocking eventfd is read, a count that did not fit moves without a later signal. Before, the helper
// thread waited for room for another count, which a read of the forwarding eventfd took.
TEST(forward_helper, waits_for_room_again_after_a_read_of_the_forwarding_eventfd) {
  const full_target full;
  full.efd.signal(5);
  ASSERT_TRUE(eventually(is_a_helper_waiting_for_room));
  EXPECT_EQ(full.efd.read(), 5U);
  ASSERT_TRUE(eventually(are_helpers_idle_or_ended));
  full.efd.signal(3);
  EXPECT_EQ(full.efd.info().count, 3U);
  EXPECT_EQ(take(full.there.get()), eventfd::max);
  EXPECT_TRUE(gets(full.there, 3));
  EXPECT_EQ(full.efd.info().count, 0U);
}

// Oracle: where no helper thread can be started, each signal moves as much of its own and of earlier counts as fits.
TEST(forward_helper, if_none_can_be_started_signals_move_counts_that_fit) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "there is no seccomp(2)";
  in_child([] {
    doorbell::test::refuse(SYS_clone3, ENOSYS);
    doorbell::test::refuse(SYS_clone, EAGAIN);
    const auto there = kernel_eventfd(0, blocking);
    const eventfd efd;
    efd.forward_to(there.get());
    efd.signal(3);
    efd.signal(1);
    EXPECT_EQ(take(there.get()), 4U);
    const full_target full;
    full.efd.signal(2);
    EXPECT_EQ(full.efd.info().count, 2U);
    EXPECT_EQ(take(full.there.get()), eventfd::max);
    full.efd.signal(1);
    EXPECT_EQ(take(full.there.get()), 3U);
    EXPECT_EQ(full.efd.info().count, 0U);
  });
}

}  // namespace
