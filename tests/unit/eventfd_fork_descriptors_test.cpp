// SPDX-License-Identifier: Apache-2.0
//
// Eventfds in a child of fork(2): the descriptors by which they are polled, and the descriptors that they forward to.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/child.hpp"

namespace {

using doorbell::eventfd;
using doorbell::test::expect_success;
using doorbell::test::in_child;

bool is_readable(int fd) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, 0) == 1;
}

std::uint64_t kernel_count(int fd) {
  std::uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

TEST(poll_fd_in_child, is_another_file_at_the_same_number) {
  const eventfd efd{0, EFD_NONBLOCK};
  const int fd = efd.poll_fd();
  in_child([&] {
    efd.signal();
    EXPECT_EQ(efd.poll_fd(), fd);
    EXPECT_TRUE(is_readable(fd));
  });
  EXPECT_FALSE(is_readable(fd));
}

TEST(poll_fd_in_child, is_readable_according_to_the_childs_count) {
  const eventfd efd{3, EFD_NONBLOCK};
  const eventfd empty{0, EFD_NONBLOCK};
  const int fd = efd.poll_fd();
  const int of_empty = empty.poll_fd();
  in_child([&] {
    EXPECT_TRUE(is_readable(fd));
    EXPECT_FALSE(is_readable(of_empty));
    EXPECT_EQ(efd.read(), 3U);
    EXPECT_FALSE(is_readable(fd));
  });
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(efd.read(), 3U);
  EXPECT_FALSE(is_readable(fd));
}

TEST(poll_fd_in_child, is_the_childs_own_before_the_child_has_used_the_eventfd) {
  const eventfd efd{0, EFD_NONBLOCK};
  const int fd = efd.poll_fd();
  int ends[2] = {};
  ASSERT_EQ(::pipe(ends), 0);
  const auto child = doorbell::test::start_child([&] {
    char byte = 0;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1);
    EXPECT_FALSE(is_readable(fd));
  });
  efd.signal();
  EXPECT_EQ(::write(ends[1], "", 1), 1);
  expect_success(child);
  EXPECT_TRUE(is_readable(fd));
  for (const int end : ends) ::close(end);
}

TEST(poll_fd_in_child, is_another_file_where_no_descriptor_is_left) {
  const eventfd efd{0, EFD_NONBLOCK};
  const int fd = efd.poll_fd();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  auto none_left = before;
  none_left.rlim_cur = static_cast<rlim_t>(fd) + 1;
  std::vector<int> all;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none_left), 0);
  for (int one = ::open("/dev/null", O_RDONLY | O_CLOEXEC); one >= 0; one = ::open("/dev/null", O_RDONLY | O_CLOEXEC))
    all.push_back(one);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(doorbell::test::child_patience_in_seconds);
    efd.signal();
    ::_exit(is_readable(fd) ? 0 : 1);
  }
  expect_success(child);
  EXPECT_FALSE(is_readable(fd));
  for (const int one : all) ::close(one);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

// Oracle: a write to the grandchild's poll descriptor does not show in the child's, although the grandchild has not
// used the eventfd, and the child has destroyed an eventfd between two others.
TEST(poll_fd_in_child, is_another_file_in_a_grandchild_after_the_child_has_destroyed_other_eventfds) {
  std::array<eventfd, 4> efds;
  std::array<int, 4> fds{};
  for (std::size_t n = 0; n < efds.size(); ++n) fds.at(n) = efds.at(n).poll_fd();
  for (std::size_t destroyed = 0; destroyed < efds.size(); ++destroyed)
    in_child([&] {
      efds.at(destroyed).close();
      in_child([&] {
        for (std::size_t n = 0; n < fds.size(); ++n) EXPECT_EQ(::eventfd_write(fds.at(n), 1) == 0, n != destroyed);
      });
      for (std::size_t n = 0; n < fds.size(); ++n)
        EXPECT_TRUE(n == destroyed || !is_readable(fds.at(n))) << n << " of a program that destroyed " << destroyed;
    });
}

TEST(poll_fd_in_child, stays_closed_if_the_program_has_closed_its_number) {
  const eventfd efd{0, EFD_NONBLOCK};
  const int fd = efd.poll_fd();
  ::close(fd);
  const int others = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::dup2(others, fd), fd);
  in_child([&] {
    char byte = 0;
    EXPECT_EQ(::read(fd, &byte, 1), 0) << "the number is still that of the program's file";
  });
  ::close(fd);
  if (others != fd) ::close(others);
}

TEST(forwarding_in_child, leaves_waiting_counts_to_the_parent) {
  const int target = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const std::uint64_t all = eventfd::max;
  ASSERT_EQ(::write(target, &all, sizeof all), static_cast<ssize_t>(sizeof all));
  eventfd efd;
  efd.forward_to(target);
  efd.signal(10);
  ASSERT_EQ(efd.info().count, 10U);
  ASSERT_EQ(kernel_count(target), all);
  in_child([&] {
    EXPECT_EQ(efd.info().count, 0U);
    efd.close();
  });
  EXPECT_EQ(efd.info().count, 10U);
  efd.close();
  EXPECT_EQ(kernel_count(target), 10U);
  ::close(target);
}

TEST(forwarding_in_child, moves_counts_that_the_child_signals) {
  const int target = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const eventfd efd;
  efd.forward_to(target);
  in_child([&] {
    efd.signal(3);
    EXPECT_EQ(efd.info().count, 0U);
  });
  EXPECT_EQ(kernel_count(target), 3U);
  ::close(target);
}

// Oracle: a program without another free number gets 0, and its child has a file of its own there.
TEST(poll_fd_in_child, is_another_file_at_number_0) {
  in_child([] {
    const eventfd efd{0, EFD_NONBLOCK};
    ::close(0);
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    auto one = limit;
    one.rlim_cur = 1;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &one), 0);
    ASSERT_EQ(efd.poll_fd(), 0);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    in_child([&] {
      efd.signal();
      EXPECT_TRUE(is_readable(0));
      EXPECT_EQ(efd.read(), 1U);
      EXPECT_FALSE(is_readable(0));
      efd.signal();
      EXPECT_TRUE(is_readable(0));
    });
    EXPECT_FALSE(is_readable(0));
  });
}

}  // namespace
