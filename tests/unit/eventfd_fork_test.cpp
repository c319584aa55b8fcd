// SPDX-License-Identifier: Apache-2.0
//
// Eventfds in a child of fork(2): they are copies of the parent's, and belong to the child.
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <list>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/in_handler.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"

DOORBELL_TEST_FORKS

namespace {

using doorbell::eventfd;
using doorbell::eventfd_ctx;
using doorbell::notifier;
using doorbell::test::asleep;
using doorbell::test::eventually;
using doorbell::test::expect_success;
using doorbell::test::in_child;
using doorbell::test::in_handler;
using doorbell::test::run_together;
using namespace std::chrono_literals;

/// Threads of this process that sleep in a read.
class readers {
 public:
  readers(const eventfd& efd, std::size_t number) : efd_{efd} {
    for (std::size_t i = 0; i < number; ++i)
      all_.emplace_back([mine = efd] {
        std::error_code ec;
        mine.read(ec);
      });
  }
  ~readers() {
    for (std::size_t i = 0; i < all_.size(); ++i) {
      efd_.signal();
      while (efd_.info().count > 0 && i + 1 < all_.size()) std::this_thread::yield();
    }
  }
  readers(const readers&) = delete;
  readers& operator=(const readers&) = delete;

 private:
  eventfd efd_;
  std::list<asleep> all_;
};

/// Starts threads that write to their stacks. The C library makes these stacks from those of threads that have ended.
void use_stacks(std::size_t threads) {
  run_together(threads, [](std::size_t) {
    volatile char bytes[4096];
    for (auto& each : bytes) each = 0x41;
  });
}

TEST(eventfd_in_child, has_no_readers_that_sleep_in_the_parent) {
  const eventfd efd;
  const readers sleeping{efd, 1};
  in_child([&] {
    efd.signal(5);
    EXPECT_EQ(efd.info().count, 5U);
    EXPECT_EQ(efd.read(), 5U);
  });
}

TEST(eventfd_in_child, has_no_writers_that_sleep_in_the_parent) {
  const eventfd efd;
  efd.write(eventfd::max);
  asleep writer{[mine = efd] { mine.write(7); }};
  in_child([&] {
    EXPECT_EQ(efd.read(), eventfd::max);
    EXPECT_EQ(efd.info().count, 0U);
  });
  EXPECT_EQ(efd.read(), eventfd::max);
  writer.join();
  EXPECT_EQ(efd.read(), 7U);
}

TEST(eventfd_in_child, does_not_write_to_stacks_that_the_parents_readers_had) {
  if (doorbell::test::ends_children_that_use_stacks_again) GTEST_SKIP() << "this ThreadSanitizer ends such children";
  constexpr std::size_t threads = 8;
  const eventfd efd;
  const readers sleeping{efd, threads};
  in_child([&] {
    use_stacks(threads);
    efd.signal(5);
    use_stacks(threads);
    EXPECT_EQ(efd.read(), 5U);
  });
}

TEST(eventfd_in_child, has_readers_of_its_own_next_to_those_of_the_parent) {
  if (doorbell::test::ends_children_that_use_stacks_again) GTEST_SKIP() << "this ThreadSanitizer ends such children";
  const eventfd efd;
  const readers sleeping{efd, 2};
  in_child([&] {
    asleep own{[&] { EXPECT_EQ(efd.read(), 5U); }};
    efd.signal(5);
    own.join();
    EXPECT_EQ(efd.info().count, 0U);
  });
}

TEST(eventfd_in_child, has_no_readers_of_its_ancestors) {
  if (doorbell::test::ends_children_that_use_stacks_again) GTEST_SKIP() << "this ThreadSanitizer ends such children";
  const eventfd efd;
  const readers sleeping{efd, 1};
  in_child([&] {
    const readers of_child{efd, 1};
    in_child([&] {
      efd.signal(5);
      EXPECT_EQ(efd.read(), 5U);
    });
  });
}

TEST(eventfd_in_child, keeps_its_notifiers) {
  const eventfd efd;
  int signals = 0;
  int releases = 0;
  notifier watch{efd, [&](eventfd_ctx&) { ++signals; }, [&] { ++releases; }};
  const readers sleeping{efd, 1};
  in_child([&] {
    efd.signal();
    EXPECT_EQ(signals, 1);
    EXPECT_EQ(efd.read(), 1U);
    EXPECT_EQ(watch.unregister(), doorbell::decoupled::by_us);
    EXPECT_EQ(releases, 0);
  });
  EXPECT_EQ(signals, 0);
}

TEST(eventfd_in_child, has_no_readers_of_a_parent_that_forked_by_a_system_call) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs its own handlers of fork(2), which do not run";
  const eventfd efd;
  const readers sleeping{efd, 1};
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(doorbell::test::child_patience_in_seconds);
    efd.signal(5);
    std::error_code ec;
    ::_exit(efd.info().count == 5 && efd.read_for(0ns, ec) == 5 ? 0 : 1);
  }
  expect_success(child);
}

/// Forks by `create` in a signal handler that interrupts a read of an eventfd, and calls `in_child_handler` with the
/// eventfd in the child's handler. The handler runs in the reader, so the child's only thread is one that sleeps in a
/// read. Oracle: the child's read goes on and gets the 5 that `in_child_handler` has signalled; the parent's read
/// sleeps on and gets the 3.
template <class Fork, class InChild>
void expect_read_goes_on(Fork create, InChild in_child_handler) {
  const eventfd efd;
  std::atomic<pid_t> child{-1};
  const in_handler forks{[&] {
                           child = create();
                           if (child != 0) return;
                           ::alarm(doorbell::test::child_patience_in_seconds);
                           in_child_handler(efd);
                         },
                         SA_RESTART};
  std::uint64_t taken = 0;
  asleep reader{[&] {
    taken = efd.read();
    if (child == 0) ::_exit(taken == 5 ? 0 : 1);
  }};
  ::pthread_kill(reader.native_handle(), SIGUSR1);
  EXPECT_TRUE(eventually([&] { return child >= 0; }));
  expect_success(child);
  EXPECT_TRUE(reader.still_asleep());
  efd.signal(3);
  reader.join();
  EXPECT_EQ(taken, 3U);
}

TEST(eventfd_in_child, a_read_that_a_forking_handler_interrupted_goes_on_in_the_child) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "the sanitizers themselves do not survive this; see sanitizer.hpp";
  expect_read_goes_on([] { return ::fork(); },
                      [](const eventfd& efd) {
                        std::thread{[&efd] {
                          use_stacks(2);
                          efd.signal(5);
                        }}.detach();
                      });
}

// The system call does not run the library's fork handlers, so the first call of the child finds the read that the
// signal handler has interrupted.
TEST(eventfd_in_child, a_read_goes_on_in_a_child_that_a_handler_has_created_by_a_system_call) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs its own handlers of fork(2), which do not run";
  expect_read_goes_on(
      [] { return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr)); },
      [](const eventfd& efd) { efd.signal(5); });
}

// Oracle: the child may request the stop of a read that sleeps in the parent. The child allocates memory first, so that
// it overwrites what it may have freed of that read.
TEST(eventfd_in_child, may_request_the_stop_of_a_read_that_sleeps_in_the_parent) {
  const eventfd efd;
  std::stop_source stop;
  std::error_code ec;
  asleep reader{[&] { efd.read(stop.get_token(), ec); }};
  in_child([&] {
    efd.signal(5);
    EXPECT_EQ(efd.read(), 5U);
    std::vector<std::vector<char>> used_again;
    for (std::size_t size = 16; size < 1024; size += 8) used_again.emplace_back(size, 'A');
    EXPECT_TRUE(stop.request_stop());
    efd.signal(2);
    EXPECT_EQ(efd.read(), 2U);
  });
  stop.request_stop();
  reader.join();
  EXPECT_EQ(ec, std::errc::operation_canceled);
}

TEST(eventfd_in_child, a_read_that_a_forking_handler_interrupted_returns_interrupted_in_the_child) {
  const eventfd efd;
  pid_t child = -1;
  const in_handler forks{[&] {
    child = ::fork();
    if (child == 0) ::alarm(doorbell::test::child_patience_in_seconds);
    if (child == 0) efd.signal(0);
  }};
  std::error_code ec;
  asleep reader{[&] {
    efd.read(ec);
    if (child != 0) return;
    efd.signal(5);
    std::error_code none;
    ::_exit(ec == std::errc::interrupted && efd.read(none) == 5 ? 0 : 1);
  }};
  ::pthread_kill(reader.native_handle(), SIGUSR1);
  reader.join();
  EXPECT_EQ(ec, std::errc::interrupted);
  expect_success(child);
}

TEST(eventfd_in_child, acquires_the_lock_that_a_callback_in_the_parent_holds) {
  const eventfd efd;
  std::latch is_in_callback{1};
  std::latch may_go_on{1};
  notifier watch{efd, [&](eventfd_ctx&) {
                   is_in_callback.count_down();
                   may_go_on.wait();
                 }};
  std::thread signaller{[&] { efd.signal(2); }};
  is_in_callback.wait();
  in_child([&] {
    EXPECT_EQ(efd.info().count, 2U);
    EXPECT_EQ(efd.read(), 2U);
    EXPECT_EQ(efd.info().count, 0U);
  });
  may_go_on.count_down();
  signaller.join();
}

// The callback holds the lock, in the parent and in the child.
TEST(eventfd_in_child, forked_by_a_callback_holds_its_lock_and_has_no_readers_of_the_parent) {
  const eventfd efd;
  pid_t child = -1;
  notifier watch{efd, [&](eventfd_ctx&) {
                   if (child >= 0) return;
                   child = ::fork();
                   if (child == 0) ::alarm(doorbell::test::child_patience_in_seconds);
                 }};
  const readers sleeping{efd, 1};
  efd.signal(5);
  if (child == 0)
    ::_exit(efd.info().count == 5 && efd.read() == 5 && watch.unregister() == doorbell::decoupled::by_us ? 0 : 1);
  expect_success(child);
}

// Oracle: each child of a process whose other threads make, use and close eventfds has the right count, whatever those
// threads were doing at the fork.
TEST(eventfd_in_child, counts_right_although_other_threads_were_registering) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "locks of a sanitizer may be held at the fork of a busy process";
  const eventfd efd;
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i)
    others.emplace_back([&] {
      while (!stop) {
        notifier watch{efd, [](eventfd_ctx&) {}};
        std::error_code ec;
        efd.read_for(1us, ec);
        eventfd other;
        other.poll_fd();
      }
    });
  for (int round = 0; round < 100; ++round)
    in_child([&] {
      std::error_code ec;
      efd.read_for(0ns, ec);
      efd.signal(5);
      EXPECT_EQ(efd.read(), 5U);
      notifier watch{efd, [](eventfd_ctx&) {}};
      efd.signal(2);
      EXPECT_EQ(efd.read(), 2U);
    });
  stop = true;
  for (auto& each : others) each.join();
}

}  // namespace
