// SPDX-License-Identifier: Apache-2.0
//
// forward_to: all counts move into a kernel eventfd that the program made, and a signal never blocks because of it.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <system_error>
#include <tuple>
#include <vector>

#include <doorbell/notifier.hpp>

#include "support/asleep.hpp"
#include "support/errors.hpp"
#include "support/fds.hpp"
#include "support/forwarded.hpp"

namespace {

using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::asleep;
using doorbell::test::error_of;
using doorbell::test::gets;
using doorbell::test::give;
using doorbell::test::kernel_eventfd;
using doorbell::test::no_more_fds;
using doorbell::test::polled;
using doorbell::test::take;
using doorbell::test::thrown_by;
using doorbell::test::unique_fd;

TEST(forward, moves_signalled_and_written_counts) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  efd.signal();
  efd.signal(10);
  efd.write(100);
  EXPECT_EQ(take(there.get()), 111U);
  efd.signal();
  EXPECT_EQ(take(there.get()), 1U);
  EXPECT_EQ(efd.info().count, 0U);
}

// Oracle: an eventfd of the program that takes the number of the library's duplicate stays 0, and is still open when
// the library has ended forwarding.
TEST(forward, does_not_touch_an_eventfd_that_replaced_its_duplicate) {
  constexpr int highest = 1024;
  const auto there = kernel_eventfd();
  const auto other = kernel_eventfd();
  std::vector<int> before;
  for (int fd = 0; fd < highest; ++fd)
    if (doorbell::test::is_open(fd)) before.push_back(fd);
  std::vector<unique_fd> programs;
  {
    const eventfd efd;
    efd.forward_to(there.get());
    efd.signal();
    for (int fd = 0; fd < highest; ++fd) {
      if (!doorbell::test::is_open(fd) || std::ranges::find(before, fd) != before.end()) continue;
      ASSERT_EQ(::dup2(other.get(), fd), fd);
      programs.emplace_back(fd);
    }
    EXPECT_FALSE(programs.empty());
    efd.signal(3);
  }
  EXPECT_EQ(take(there.get()), 1U);
  EXPECT_EQ(take(other.get()), 0U);
  for (const auto& each : programs) EXPECT_TRUE(doorbell::test::is_open(each.get()));
}

TEST(forward, forwarding_to_makes_an_eventfd_that_forwards) {
  const auto there = kernel_eventfd();
  const auto efd = eventfd::forwarding_to(there.get());
  efd.signal(3);
  EXPECT_EQ(take(there.get()), 3U);
  std::error_code ec;
  EXPECT_FALSE(eventfd::forwarding_to(STDIN_FILENO, ec).is_open());
  EXPECT_EQ(ec, std::errc::invalid_argument);
  EXPECT_EQ(thrown_by([] { std::ignore = eventfd::forwarding_to(-1); }), std::errc::bad_file_descriptor);
}

TEST(forward, forwarding_to_works_in_a_callback) {
  const auto there = kernel_eventfd();
  const eventfd efd;
  eventfd made = efd;
  const notifier makes{efd, [&](auto&) { made = eventfd::forwarding_to(there.get()); }};
  efd.signal();
  made.signal(2);
  EXPECT_EQ(take(there.get()), 2U);
}

TEST(forward, moves_an_earlier_count_immediately) {
  const eventfd efd{7};
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  EXPECT_EQ(take(there.get()), 7U);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST(forward, moves_the_whole_count_of_a_semaphore) {
  const eventfd efd(3, EFD_SEMAPHORE);
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  efd.signal(2);
  EXPECT_EQ(take(there.get()), 5U);
}

TEST(forward, adds_to_counts_that_others_write_to_the_target) {
  const eventfd efd;
  const auto there = kernel_eventfd(5);
  efd.forward_to(there.get());
  efd.signal(2);
  EXPECT_TRUE(give(there.get(), 30));
  EXPECT_EQ(take(there.get()), 37U);
}

TEST(forward, moves_a_count_wider_than_49_bits) {
  constexpr std::uint64_t wide = 1ULL << 62;
  const eventfd efd;
  efd.signal(wide);
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  efd.signal(wide);
  EXPECT_EQ(take(there.get()), 2 * wide);
}

TEST(forward, of_a_saturated_count_moves_the_largest_writable_count) {
  const eventfd efd;
  efd.signal(UINT64_MAX);
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  EXPECT_EQ(take(there.get()), eventfd::max);
  efd.signal();
  EXPECT_EQ(take(there.get()), 2U);
}

// Oracle: a signal returns although a write(2) would block; a count that does not fit waits in the eventfd, and moves
// with a later signal.
TEST(forward, into_a_full_eventfd_neither_blocks_nor_loses) {
  for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)}) {
    const eventfd efd;
    const auto there = kernel_eventfd(0, flags);
    EXPECT_TRUE(give(there.get(), eventfd::max));
    efd.forward_to(there.get());
    efd.signal();
    efd.signal(4);
    EXPECT_EQ(efd.info().count, 5U);
    EXPECT_EQ(take(there.get()), eventfd::max);
    efd.signal();
    EXPECT_TRUE(gets(there, 6));
    EXPECT_EQ(efd.info().count, 0U);
  }
}

// The rest moves with the next signal; to a blocking eventfd it may move earlier, when there is room.
TEST(forward, of_a_count_larger_than_the_room_neither_blocks_nor_loses) {
  for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)}) {
    const eventfd efd;
    const auto there = kernel_eventfd(0, flags);
    EXPECT_TRUE(give(there.get(), eventfd::max - 3));
    efd.forward_to(there.get());
    efd.signal(4);
    EXPECT_EQ(take(there.get()), eventfd::max);
    if (flags == EFD_NONBLOCK) {
      EXPECT_EQ(efd.info().count, 1U);
    }
    efd.write(0);
    EXPECT_TRUE(gets(there, 1));
    EXPECT_TRUE(give(there.get(), eventfd::max - 3));
    efd.signal(3);
    EXPECT_TRUE(gets(there, eventfd::max));
  }
}

// Oracle: the program clears O_NONBLOCK of a full eventfd; the counts of both signals arrive when the eventfd is read.
TEST(forward, to_a_full_eventfd_that_becomes_blocking_arrives_when_it_is_read) {
  const eventfd efd;
  const auto there = kernel_eventfd(0, EFD_NONBLOCK);
  EXPECT_TRUE(give(there.get(), eventfd::max));
  efd.forward_to(there.get());
  efd.signal(2);
  ASSERT_EQ(::fcntl(there.get(), F_SETFL, 0), 0);
  efd.signal(3);
  EXPECT_EQ(take(there.get()), eventfd::max);
  EXPECT_TRUE(gets(there, 5));
  EXPECT_EQ(efd.info().count, 0U);
}

TEST(forward, does_not_change_the_flags_of_its_target) {
  const auto there = kernel_eventfd(0, 0);
  const int before = ::fcntl(there.get(), F_GETFL);
  const eventfd efd;
  efd.forward_to(there.get());
  efd.signal();
  EXPECT_EQ(::fcntl(there.get(), F_GETFL), before);
}

// Oracle: the eventfd that takes the number of the closed descriptor gets nothing; the original target gets everything.
TEST(forward, goes_to_the_same_eventfd_after_its_number_is_reused) {
  auto there = kernel_eventfd();
  const unique_fd kept{::dup(there.get())};
  const auto another = kernel_eventfd();
  const int number = there.get();
  const eventfd efd;
  efd.forward_to(number);
  efd.signal(1);
  there.reset();
  const unique_fd newcomer{::dup3(another.get(), number, O_CLOEXEC)};
  ASSERT_EQ(newcomer.get(), number);
  efd.signal(2);
  EXPECT_EQ(take(newcomer.get()), 0U);
  EXPECT_EQ(take(kept.get()), 3U);
}

TEST(forward, makes_room_for_a_sleeping_writer) {
  const eventfd efd;
  efd.write(eventfd::max);
  asleep writer{[&] { efd.write(5); }};
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  writer.join();
  auto sum = take(there.get()) % eventfd::max;
  efd.write(0);
  sum += take(there.get());
  EXPECT_EQ(sum, 5U);
}

TEST(forward, stopped_leaves_counts_in_the_eventfd) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  efd.forward_to(there.get());
  efd.signal(2);
  efd.stop_forwarding();
  efd.signal(3);
  EXPECT_EQ(take(there.get()), 2U);
  EXPECT_EQ(efd.read(), 3U);
}

TEST(forward, stopped_can_start_again_to_another_target) {
  const eventfd efd;
  const auto first = kernel_eventfd();
  const auto second = kernel_eventfd();
  efd.forward_to(first.get());
  efd.stop_forwarding();
  efd.signal(3);
  efd.forward_to(second.get());
  EXPECT_EQ(take(first.get()), 0U);
  EXPECT_EQ(take(second.get()), 3U);
}

// Oracle: the count arrives, and the lowest free descriptor is the same as before.
TEST(forward, at_the_last_close_moves_the_waiting_count_and_ends) {
  eventfd efd;
  const auto there = kernel_eventfd();
  EXPECT_TRUE(give(there.get(), eventfd::max));
  const unique_fd before{::dup(0)};
  const int next_free = before.get();
  efd.forward_to(there.get());
  efd.signal(4);
  EXPECT_EQ(take(there.get()), eventfd::max);
  efd.close();
  EXPECT_EQ(take(there.get()), 4U);
  const unique_fd after{::dup(0)};
  EXPECT_EQ(after.get(), next_free + 1) << "a descriptor was left open";
}

TEST(forward, accepts_only_eventfds) {
  const eventfd efd{1};
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const unique_fd read_end{pipe[0]};
  const unique_fd write_end{pipe[1]};
  for (const int fd : pipe) {
    EXPECT_EQ(error_of([&](auto& ec) { efd.forward_to(fd, ec); }), std::errc::invalid_argument);
    EXPECT_EQ(thrown_by([&] { efd.forward_to(fd); }), std::errc::invalid_argument);
  }
  EXPECT_EQ(error_of([&](auto& ec) { efd.forward_to(-1, ec); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(efd.info().count, 1U);
}

// A poll_fd belongs to the library: a count in it would make it readable although there is nothing to read.
TEST(forward, does_not_accept_a_poll_fd) {
  const eventfd efd{1};
  const eventfd other;
  const unique_fd duplicate{::dup(other.poll_fd())};
  for (const int fd : {efd.poll_fd(), other.poll_fd(), duplicate.get()})
    EXPECT_EQ(error_of([&](auto& ec) { efd.forward_to(fd, ec); }), std::errc::invalid_argument);
  EXPECT_EQ(efd.info().count, 1U);
  EXPECT_TRUE(doorbell::test::readable(efd.poll_fd()));
  EXPECT_FALSE(doorbell::test::readable(other.poll_fd()));
}

TEST(forward, to_a_second_target_is_refused) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  const auto other = kernel_eventfd();
  efd.forward_to(there.get());
  EXPECT_EQ(error_of([&](auto& ec) { efd.forward_to(other.get(), ec); }), std::errc::device_or_resource_busy);
  efd.signal();
  EXPECT_EQ(take(there.get()), 1U);
  EXPECT_EQ(take(other.get()), 0U);
}

TEST(forward, stop_without_forwarding_is_an_error) {
  const eventfd efd;
  EXPECT_EQ(error_of([&](auto& ec) { efd.stop_forwarding(ec); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(thrown_by([&] { efd.stop_forwarding(); }), std::errc::no_such_file_or_directory);
}

TEST(forward, without_a_descriptor_left_fails_and_loses_nothing) {
  const eventfd efd{3};
  const auto there = kernel_eventfd();
  std::error_code ec;
  {
    const no_more_fds limit;
    efd.forward_to(there.get(), ec);
  }
  EXPECT_EQ(ec, std::errc::too_many_files_open);
  EXPECT_EQ(efd.info().count, 3U);
  efd.forward_to(there.get());
  EXPECT_EQ(take(there.get()), 3U);
}

// The first forwarding of a process needs a second descriptor: the epoll by which the duplicates are identified.
TEST(forward, needs_one_descriptor) {
  rlim_t spare = 2;
  for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)}) {
    const eventfd efd{3};
    const auto there = kernel_eventfd(0, flags);
    std::error_code ec;
    {
      const no_more_fds limit{spare};
      efd.forward_to(there.get(), ec);
    }
    EXPECT_FALSE(ec);
    EXPECT_TRUE(gets(there, 3));
    spare = 1;
  }
}

TEST(forward, is_refused_in_a_callback) {
  const eventfd efd;
  const auto there = kernel_eventfd();
  std::error_code begin;
  std::error_code end;
  const notifier watcher{efd, [&](auto&) {
                           efd.forward_to(there.get(), begin);
                           efd.stop_forwarding(end);
                         }};
  efd.signal();
  EXPECT_EQ(begin, std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(end, std::errc::resource_deadlock_would_occur);
}

TEST(forward, and_poll_fd_work_together) {
  const eventfd efd;
  const int fd = efd.poll_fd();
  const auto there = kernel_eventfd();
  EXPECT_TRUE(give(there.get(), eventfd::max));
  efd.forward_to(there.get());
  efd.signal();
  EXPECT_TRUE(polled(fd) & POLLIN);
  take(there.get());
  efd.signal();
  EXPECT_FALSE(polled(fd) & POLLIN);
  EXPECT_EQ(take(there.get()), 2U);
}

}  // namespace
