// SPDX-License-Identifier: Apache-2.0
//
// poll_fd: a descriptor that is readable exactly while the count is above 0.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <deque>
#include <system_error>

#include <doorbell/notifier.hpp>

#include "support/asleep.hpp"
#include "support/fds.hpp"

namespace {

using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::asleep;
using doorbell::test::is_open;
using doorbell::test::no_more_fds;
using doorbell::test::readable;
using doorbell::test::unique_fd;

TEST(poll_fd, is_readable_exactly_while_there_is_a_count) {
  const eventfd efd(0, EFD_NONBLOCK);
  const int fd = efd.poll_fd();
  EXPECT_FALSE(readable(fd));
  efd.signal();
  EXPECT_TRUE(readable(fd));
  efd.write(2);
  EXPECT_TRUE(readable(fd));
  EXPECT_EQ(efd.read(), 3U);
  EXPECT_FALSE(readable(fd));
  efd.write(1);
  EXPECT_TRUE(readable(fd));
  efd.context()->drain();
  EXPECT_FALSE(readable(fd));
}

TEST(poll_fd, made_after_a_signal_is_readable) {
  const eventfd efd{5};
  EXPECT_TRUE(readable(efd.poll_fd()));
}

TEST(poll_fd, of_a_semaphore_is_readable_until_the_count_is_0) {
  const eventfd efd(2, EFD_SEMAPHORE);
  const int fd = efd.poll_fd();
  efd.read();
  EXPECT_TRUE(readable(fd));
  efd.read();
  EXPECT_FALSE(readable(fd));
}

TEST(poll_fd, a_write_of_0_does_not_make_it_readable) {
  const eventfd efd;
  const int fd = efd.poll_fd();
  efd.write(0);
  EXPECT_FALSE(readable(fd));
}

TEST(poll_fd, is_not_left_readable_by_a_count_that_a_sleeping_reader_gets) {
  const eventfd efd;
  asleep reader{[&] { efd.read(); }};
  const int fd = efd.poll_fd();
  efd.signal();
  reader.join();
  EXPECT_FALSE(readable(fd));
  efd.signal();
  EXPECT_TRUE(readable(fd));
}

TEST(poll_fd, is_the_same_for_each_call_and_each_handle) {
  const eventfd efd;
  const eventfd copy = efd;
  const int fd = efd.poll_fd();
  EXPECT_EQ(efd.poll_fd(), fd);
  EXPECT_EQ(copy.poll_fd(), fd);
}

TEST(poll_fd, is_closed_with_the_last_handle) {
  eventfd efd;
  eventfd copy = efd;
  const int fd = efd.poll_fd();
  efd.close();
  EXPECT_TRUE(is_open(fd));
  copy.close();
  EXPECT_FALSE(is_open(fd));
}

TEST(poll_fd, is_not_inherited_by_programs) {
  const eventfd efd;
  EXPECT_EQ(::fcntl(efd.poll_fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

/// Reports by an edge-triggered epoll whether there have been write(2) calls on a descriptor since the last report.
class edges {
 public:
  explicit edges(int fd) {
    epoll_event wanted{.events = EPOLLIN | EPOLLET, .data = {}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted);
  }
  [[nodiscard]] bool told() {
    epoll_event event{};
    return ::epoll_wait(epoll_.get(), &event, 1, 0) == 1;
  }

 private:
  unique_fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
};

TEST(poll_fd, is_written_once_for_many_signals) {
  const eventfd efd(0, EFD_NONBLOCK);
  edges edge{efd.poll_fd()};
  EXPECT_FALSE(edge.told());
  for (int round = 0; round < 3; ++round) {
    efd.signal();
    EXPECT_TRUE(edge.told());
    for (int i = 0; i < 10; ++i) {
      efd.signal();
      EXPECT_FALSE(edge.told()) << "a signal on top of a count was written";
    }
    EXPECT_EQ(efd.read(), 11U);
    EXPECT_FALSE(edge.told());
  }
}

TEST(poll_fd, is_not_readable_after_a_callback_has_drained_the_count) {
  const eventfd efd;
  const int fd = efd.poll_fd();
  std::uint64_t drained = 0;
  const notifier watcher{efd, [&](auto& ctx) { drained += ctx.drain(); }};
  efd.signal(3);
  EXPECT_EQ(drained, 3U);
  EXPECT_FALSE(readable(fd));
}

TEST(poll_fd, without_a_descriptor_left_fails_and_loses_nothing) {
  const eventfd efd{2};
  std::error_code ec;
  {
    const no_more_fds limit;
    EXPECT_EQ(efd.poll_fd(ec), -1);
    efd.signal();
  }
  EXPECT_EQ(ec, std::errc::too_many_files_open);
  EXPECT_TRUE(readable(efd.poll_fd()));
  EXPECT_EQ(efd.read(), 3U);
  EXPECT_FALSE(readable(efd.poll_fd()));
}

TEST(poll_fd, is_refused_in_a_callback) {
  const eventfd efd;
  const eventfd other;
  std::error_code own_ec;
  std::error_code other_ec;
  const notifier watcher{efd, [&](auto&) {
                           EXPECT_EQ(efd.poll_fd(own_ec), -1);
                           EXPECT_EQ(other.poll_fd(other_ec), -1);
                         }};
  efd.signal();
  EXPECT_EQ(own_ec, std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(other_ec, std::errc::resource_deadlock_would_occur);
}

/// The CPU time of the thread in `calls` calls.
template <class Call>
std::chrono::nanoseconds processor_time_of(int calls, Call call) {
  const auto now = [] {
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
  };
  const auto before = now();
  for (int i = 0; i < calls; ++i) call();
  return now() - before;
}

// Oracle: a call costs the same with and without 100000 notifiers on the queue. A search of the queue would make it
// more than a thousand times slower; the limit leaves room for everything else.
TEST(poll_fd, is_found_without_a_search_of_the_queue) {
  const eventfd efd;
  const eventfd crowded;
  const auto there = doorbell::test::kernel_eventfd();
  std::deque<notifier> crowd;
  for (int i = 0; i < 100'000; ++i) crowd.emplace_back(crowded, [](auto&) {});
  const auto time_of = [&](const eventfd& asked) {
    asked.poll_fd();
    asked.forward_to(there.get());
    return processor_time_of(200, [&] {
      asked.poll_fd();
      EXPECT_NE(asked.context()->forwarding_target(), nullptr);
    });
  };
  const auto usual = time_of(efd);
  EXPECT_LT(time_of(crowded), 50 * usual);
}

}  // namespace
