// SPDX-License-Identifier: Apache-2.0
//
// forward_to: the threads that write to kernel eventfds which may block, when there are too many, too few or none.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

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

/// How many helper threads this process has.
int helpers() {
  int found = 0;
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::string name;
    std::ifstream{task.path() / "comm"} >> name;  // empty if the thread has ended
    found += name == "doorbell-fwd";
  }
  return found;
}

std::ptrdiff_t descriptors() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, std::filesystem::directory_iterator{});
}

/// Whether each helper thread sleeps on a futex: it has nothing to do, and does not poll an eventfd for room.
bool are_helpers_idle() {
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::string name;
    std::string call;
    std::ifstream{task.path() / "comm"} >> name;
    std::ifstream{task.path() / "syscall"} >> call;
    if (name == "doorbell-fwd" && call != std::to_string(SYS_futex)) return false;
  }
  return true;
}

/// A kernel eventfd without room, and an eventfd that forwards to it. A helper thread waits for room as soon as one
/// count has been signalled.
struct full_target {
  full_target() {
    EXPECT_TRUE(give(there.get(), eventfd::max));
    bell.forward_to(there.get());
  }
  const unique_fd there = kernel_eventfd(0, blocking);
  const eventfd bell;
};

TEST(forward_helper, is_not_started_for_an_eventfd_that_does_not_block) {
  in_child([] {
    const auto there = kernel_eventfd();
    EXPECT_TRUE(give(there.get(), eventfd::max - 2));
    const eventfd bell;
    bell.forward_to(there.get());
    for (int signals = 0; signals < 3; ++signals) bell.signal(3);
    EXPECT_EQ(bell.info().count, 7U);
    EXPECT_EQ(helpers(), 0);
  });
}

TEST(forward_helper, ends_when_it_is_idle_and_is_started_again) {
  in_child([] {
    const auto there = kernel_eventfd(0, blocking);
    const eventfd bell;
    bell.forward_to(there.get());
    for (std::uint64_t n = 1; n <= 2; ++n) {
      bell.signal(n);
      EXPECT_TRUE(gets(there, n));
      EXPECT_EQ(helpers(), 1);
      EXPECT_TRUE(eventually(are_helpers_idle));
      const auto begin = steady_clock::now();
      bell.signal(n);
      EXPECT_TRUE(gets(there, n));
      EXPECT_LT(steady_clock::now() - begin, 4s) << "it was not woken, but has looked before its end";
      EXPECT_EQ(helpers(), 1) << "the idle one is taken";
      EXPECT_TRUE(eventually([] { return helpers() == 0; }));
    }
  });
}

// Oracle: a count arrives though each helper thread that there was waits for room elsewhere; those that wait arrive,
// too, when there is room. Some of the signallers wait for a helper thread concurrently.
TEST(forward_helper, is_found_for_an_eventfd_while_many_others_are_full) {
  in_child([] {
    std::array<full_target, 6> full;
    run_together(full.size(), [&](std::size_t index) { full.at(index).bell.signal(3); });
    const auto there = kernel_eventfd(0, blocking);
    const eventfd bell;
    bell.forward_to(there.get());
    bell.signal(5);
    EXPECT_TRUE(gets(there, 5));
    for (const auto& each : full) {
      EXPECT_TRUE(eventually([&] { return each.bell.info().count == 3; }));
      EXPECT_EQ(take(each.there.get()), eventfd::max);
    }
    for (const auto& each : full) EXPECT_TRUE(gets(each.there, 3));
  });
}

// Oracle: when the forwarding has ended, no descriptor of it is left, also if the helper waited for room.
TEST(forward_helper, keeps_no_descriptor_when_the_forwarding_has_ended) {
  in_child([] {
    const auto run = [] {
      full_target full;
      const auto there = kernel_eventfd(0, blocking);
      const eventfd bell;
      bell.forward_to(there.get());
      for (const std::uint64_t n : {1U, 2U}) {
        full.bell.signal(n);
        bell.signal(n);
        EXPECT_TRUE(gets(there, n));
      }
    };
    run();  // also makes what the library keeps for the whole process
    const auto before = descriptors();
    run();
    EXPECT_TRUE(eventually([&] { return descriptors() <= before; }));
  });
}

// Oracle: what the child signals arrives, though it has none of the helper threads of its parent, of which one is idle
// and one waits for room.
TEST(forward_helper, of_the_parent_is_replaced_in_a_child) {
  const auto there = kernel_eventfd(0, blocking);
  const eventfd bell;
  bell.forward_to(there.get());
  bell.signal();
  EXPECT_TRUE(gets(there, 1));
  const full_target full;
  full.bell.signal(5);
  in_child([&] {
    bell.signal(2);
    EXPECT_TRUE(gets(there, 2));
    EXPECT_EQ(full.bell.info().count, 0U) << "what waits is the parent's";
    full.bell.signal(2);
    EXPECT_EQ(full.bell.info().count, 2U);
    EXPECT_EQ(take(full.there.get()), eventfd::max);
    EXPECT_TRUE(gets(full.there, 7)) << "of the child and of the parent";
  });
  bell.signal(4);
  EXPECT_TRUE(gets(there, 4));
  EXPECT_EQ(full.bell.info().count, 0U);
}

// Oracle: what does not fit moves when the blocking eventfd is read, without a later signal; also if the count that the
// helper waited with before was taken here.
TEST(forward_helper, waits_for_room_again_after_the_count_was_taken_here) {
  const full_target full;
  full.bell.signal(5);
  EXPECT_FALSE(are_helpers_idle());
  EXPECT_EQ(full.bell.read(), 5U);
  ASSERT_TRUE(eventually(are_helpers_idle));
  full.bell.signal(3);
  EXPECT_EQ(full.bell.info().count, 3U);
  EXPECT_EQ(take(full.there.get()), eventfd::max);
  EXPECT_TRUE(gets(full.there, 3));
  EXPECT_EQ(full.bell.info().count, 0U);
}

TEST(forward_helper, is_not_needed_where_no_thread_can_be_started) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "there is no seccomp(2)";
  in_child([] {
    doorbell::test::refuse(SYS_clone3, ENOSYS);
    doorbell::test::refuse(SYS_clone, EAGAIN);
    const auto there = kernel_eventfd(0, blocking);
    const eventfd bell;
    bell.forward_to(there.get());
    bell.signal(3);
    bell.signal(1);
    EXPECT_EQ(take(there.get()), 4U);
    const full_target full;
    full.bell.signal(2);
    EXPECT_EQ(full.bell.info().count, 2U);
    EXPECT_EQ(take(full.there.get()), eventfd::max);
    full.bell.signal(1);
    EXPECT_EQ(take(full.there.get()), 3U);
    EXPECT_EQ(full.bell.info().count, 0U);
  });
}

}  // namespace
