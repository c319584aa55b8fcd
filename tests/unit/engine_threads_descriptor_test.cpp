// SPDX-License-Identifier: Apache-2.0
//
// The eventfd by which engine_threads announces completions. The program may close it or put a file at its number, and
// the I/O threads may be unable to signal it.
#include "../../aio/engine/threads/engine_threads.hpp"

#include <doorbell/base/private_fd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stop_token>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "support/child.hpp"
#include "support/cpus.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::eventually;
using doorbell::test::in_child;
using doorbell::test::readable;
using doorbell::test::temporary_file;

// Never destroyed, because its threads run until the process ends.
aio::io_threads& new_io_threads() {
  return *new aio::io_threads{{.most_workers = 1, .idle_time = 1h, .least_workers = 1}, 1};
}

/// An engine, and requests for it.
class used_engine {
 public:
  void start(const aio::iocb& asked) {
    auto* const one = owned_.emplace_back(new aio::request{asked, nullptr}).get();
    ASSERT_EQ(carrier.start({&one, 1}), 1U);
  }
  /// A request that is complete when this function returns.
  void start_ready() { start(aio::prep_poll(pipe.write.get(), POLLOUT)); }
  /// A request that the poller completes after let_go().
  void start_waiting() { start(aio::prep_poll(pipe.read.get(), POLLIN)); }
  void let_go() const { ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1); }
  /// A request that a worker completes.
  void start_work() { start(aio::prep_fsync(file.get())); }

  std::size_t reaped() {
    std::array<aio::completion, 64> some{};
    return carrier.reap(some);
  }
  [[nodiscard]] bool reaped_eventually(std::size_t count) {
    std::size_t all = 0;
    return eventually([&] { return (all += reaped()) >= count; }) && all == count;
  }

  doorbell::test::pipe_ends pipe;
  doorbell::base::unique_fd file = temporary_file("hello");
  aio::io_threads& threads = new_io_threads();

 private:
  std::vector<std::unique_ptr<aio::request>> owned_;  // destroyed after the engine

 public:
  aio::engine_threads carrier{threads};
};

// By number, because ThreadSanitizer would report that the library uses a descriptor that the program has closed.
void close_by_number(int fd) { ASSERT_EQ(::syscall(SYS_close, fd), 0); }

// Oracle: the content and the position of the program's file stay the same, and each completion is reaped.
TEST(descriptor_of_engine_threads, a_file_that_the_program_puts_at_its_number_is_neither_read_nor_written) {
  constexpr std::string_view text = "of the program, and longer than a count";
  constexpr off_t position = 4;
  used_engine one;
  const int number = one.carrier.descriptor();
  ASSERT_GE(number, 0);
  one.start_ready();
  const auto other = temporary_file(text);
  ASSERT_EQ(::lseek(other.get(), position, SEEK_SET), position);
  ASSERT_EQ(::syscall(SYS_dup3, other.get(), number, O_CLOEXEC), number);
  one.start_ready();
  one.start_work();
  EXPECT_TRUE(one.reaped_eventually(3));
  EXPECT_EQ(one.reaped(), 0U);
  EXPECT_EQ(::lseek(other.get(), 0, SEEK_CUR), position);
  std::array<char, 64> content{};
  EXPECT_EQ(::pread(other.get(), content.data(), content.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_EQ((std::string_view{content.data(), text.size()}), text);
  close_by_number(number);
}

// Oracle: the new descriptor is readable if and only if there are completions.
TEST(descriptor_of_engine_threads, one_made_instead_of_a_closed_one_is_readable_while_there_are_completions) {
  used_engine one;
  close_by_number(one.carrier.descriptor());
  const int number = one.carrier.descriptor();
  EXPECT_FALSE(readable(number));
  one.start_ready();
  EXPECT_TRUE(readable(number));
  EXPECT_EQ(one.reaped(), 1U);
  EXPECT_FALSE(readable(number));
  one.start_work();
  EXPECT_TRUE(eventually([&] { return readable(number); }));
  EXPECT_EQ(one.reaped(), 1U);
  one.start_ready();
  close_by_number(number);
  EXPECT_TRUE(readable(one.carrier.descriptor()));
  EXPECT_EQ(one.reaped(), 1U);
}

// A loop preempts the announcing thread when an announcement wakes it, because it has a real-time priority on the same
// CPU. Oracle: its next call of reap() makes the descriptor unreadable.
TEST(descriptor_of_engine_threads, an_announcement_is_taken_by_the_first_reap_after_it) {
  constexpr int enough = 1000;
  const doorbell::test::on_cpu only{doorbell::test::allowed_cpus().front()};
  used_engine one;
  const int number = one.carrier.descriptor();
  std::promise<bool> allowed;
  std::atomic<int> longest = 0;
  std::jthread loop{[&](const std::stop_token& stop) {
    const sched_param lowest{.sched_priority = 1};
    allowed.set_value(::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &lowest) == 0);
    for (int in_vain = 0; !stop.stop_requested() && in_vain < enough; longest = std::max(longest.load(), in_vain)) {
      pollfd waits{.fd = number, .events = POLLIN, .revents = 0};
      if (::poll(&waits, 1, 10) == 1) std::ignore = one.reaped();
      in_vain = readable(number) ? in_vain + 1 : 0;
    }
  }};
  if (!allowed.get_future().get()) GTEST_SKIP() << "SCHED_FIFO is not allowed here";
  bool is_taken = true;
  for (int n = 0; n < enough && is_taken && longest < enough; ++n) {
    one.carrier.announce();
    is_taken = eventually([&] { return !readable(number) || longest == enough; });
  }
  EXPECT_TRUE(is_taken);
  loop.request_stop();
  loop.join();
  EXPECT_LT(longest, enough / 10);
}

TEST(descriptor_of_engine_threads, an_engine_has_completions_from_the_completion_until_the_reap) {
  used_engine one;
  EXPECT_FALSE(one.carrier.has_completions());
  one.start_waiting();
  EXPECT_FALSE(one.carrier.has_completions());
  one.let_go();
  EXPECT_TRUE(eventually([&] { return one.carrier.has_completions(); }));
  EXPECT_EQ(one.reaped(), 1U);
  EXPECT_FALSE(one.carrier.has_completions());
}

// The I/O threads cannot get the descriptor while RLIMIT_NOFILE does not allow it. Oracle: meanwhile the engine reports
// that it must be looked at; and the descriptor announces the completion of a request that is started after the limit
// has been raised again.
TEST(descriptor_of_engine_threads, one_that_the_io_threads_lack_announces_requests_that_are_started_later) {
  in_child([] {
    constexpr rlim_t waiting = 60;  // many more than the descriptors of this process
    used_engine one;
    for (rlim_t n = 0; n < waiting; ++n) one.start_waiting();
    EXPECT_FALSE(one.carrier.must_be_looked_at());
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit low{.rlim_cur = waiting, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    const int number = one.carrier.descriptor();
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_GE(number, 0);
    EXPECT_TRUE(one.carrier.must_be_looked_at());
    one.start_work();
    EXPECT_TRUE(eventually([&] { return readable(number); }));
    EXPECT_FALSE(one.carrier.must_be_looked_at());
    one.let_go();
    EXPECT_TRUE(one.reaped_eventually(waiting + 1));
    EXPECT_FALSE(one.carrier.must_be_looked_at());
  });
}

// Oracle: after the loss, the engine must be looked at until all requests have been reaped. Then the lost I/O threads
// have no file any more.
TEST(descriptor_of_engine_threads, is_not_enough_while_lost_io_threads_have_requests) {
  in_child([] {
    used_engine one;
    ASSERT_GE(one.carrier.descriptor(), 0);
    one.start_waiting();
    EXPECT_FALSE(one.carrier.must_be_looked_at());
    const auto lowest = static_cast<unsigned>(doorbell::base::private_fd::lowest_number());
    ASSERT_EQ(::syscall(SYS_close_range, lowest, ~0U, 0), 0);
    one.start_work();
    EXPECT_TRUE(one.carrier.must_be_looked_at());
    one.let_go();
    EXPECT_TRUE(one.reaped_eventually(2));
    EXPECT_FALSE(one.carrier.must_be_looked_at());
    EXPECT_TRUE(eventually([&] { return one.threads.pins.size() == 0; }));
  });
}

}  // namespace
