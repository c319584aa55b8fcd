// SPDX-License-Identifier: Apache-2.0
//
// The start and the end of a set of I/O threads: its errors, and the threads, descriptors and memory that it has.
#include "../../aio/engine/threads/io_threads.hpp"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::eventually;
using doorbell::test::in_child;
using io_threads_ptr = doorbell::base::intrusive_ptr<aio::io_threads>;

io_threads_ptr make_io_threads() {
  return {new aio::io_threads{{.most_workers = 1, .idle_time = 1h, .least_workers = 1}, 1}, false};
}

std::size_t count_descriptors() {
  const std::filesystem::directory_iterator open{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

std::size_t count_threads(const char* name) {
  std::size_t count = 0;
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream file{task.path() / "comm"};
    std::string its;
    count += std::getline(file, its) && its == name;
  }
  return count;
}
// A new worker has the name of the poller's thread, which creates it, until it sets its own.
bool are_there(std::size_t pollers, std::size_t workers) {
  return eventually(
      [&] { return count_threads("doorbell-poller") == pollers && count_threads("doorbell-worker") == workers; });
}

// Oracle: start() returns the error of the refused system call, and leaves no descriptor and no thread.
TEST(start_of_io_threads, fails_with_the_error_of_the_refused_call) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  struct refused {
    std::vector<long> calls;
    int error;
  };
  for (const auto& each : std::initializer_list<refused>{{{SYS_socketpair}, ENFILE},
                                                         {{SYS_eventfd2}, ENFILE},
                                                         {{SYS_clone3, SYS_clone}, EAGAIN},
                                                         {{SYS_close_range, SYS_unshare}, EPERM},
                                                         {{SYS_epoll_create1}, ENFILE},
                                                         {{SYS_epoll_ctl}, ENOSPC}}) {
    SCOPED_TRACE(each.calls.front());
    in_child([&] {
      const auto one = make_io_threads();
      const auto descriptors = count_descriptors();
      for (const long call : each.calls) doorbell::test::refuse(call, each.error);
      EXPECT_EQ(one->start().value(), each.error);
      EXPECT_EQ(count_descriptors(), descriptors);
      EXPECT_TRUE(are_there(0, 0));
      EXPECT_EQ(one->start().value(), each.error);
    });
  }
}

// Oracle: the program's table has two descriptors more: the sending end of the channel, and the wakeup eventfd.
TEST(start_of_io_threads, makes_a_poller_a_worker_and_two_descriptors) {
  in_child([] {
    const auto one = make_io_threads();
    const auto descriptors = count_descriptors();
    for (int times = 0; times < 2; ++times) {
      EXPECT_FALSE(one->start());
      EXPECT_EQ(count_descriptors(), descriptors + 2);
      EXPECT_TRUE(are_there(1, 1));
    }
    one->retire();
    EXPECT_TRUE(are_there(0, 0));
  });
}

// Oracle: the set is started once, although several threads start it concurrently.
TEST(start_of_io_threads, by_several_threads_makes_one_poller) {
  in_child([] {
    constexpr std::size_t rounds = 20;
    std::vector<io_threads_ptr> all;
    for (std::size_t n = 0; n < rounds; ++n) {
      auto& one = *all.emplace_back(make_io_threads());
      doorbell::test::run_together(4, [&](std::size_t) { EXPECT_FALSE(one.start()); });
    }
    EXPECT_TRUE(are_there(rounds, rounds));
    for (const auto& each : all) each->retire();
    EXPECT_TRUE(are_there(0, 0));
  });
}

// Oracle: the memory of the process does not grow with the number of sets that are no longer used, whether or not their
// threads could be started.
TEST(end_of_io_threads, frees_the_memory_after_the_last_user_and_the_last_thread) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer has another allocator, and finds leaks itself";
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  in_child([] {
    constexpr std::size_t sets = 50;
    for (const bool can_start : {true, false}) {
      SCOPED_TRACE(can_start);
      if (!can_start)
        for (const long call : {SYS_clone3, SYS_clone}) doorbell::test::refuse(call, EAGAIN);
      const auto use_some = [&] {
        for (std::size_t n = 0; n < sets; ++n) {
          const auto one = make_io_threads();
          const bool has_started = !one->start();
          EXPECT_EQ(has_started, can_start);
          if (has_started) one->retire();
        }
        EXPECT_TRUE(are_there(0, 0));
      };
      use_some();  // lets the C library make its arenas for threads
      const auto before = ::mallinfo2().uordblks;
      use_some();
      EXPECT_TRUE(eventually([&] { return ::mallinfo2().uordblks < before + sets / 2 * sizeof(aio::io_threads); }));
    }
  });
}

}  // namespace
