// SPDX-License-Identifier: Apache-2.0
//
// A program whose event loop waits for the descriptor of its context, and that closes all descriptors that it does not
// know.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "descriptors_closed.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::file_for_engine;
using doorbell::test::highest_closed;
using doorbell::test::in_child;
using doorbell::test::unique_fd;

/// A program whose event loop waits for the descriptor of its context, and that closes all descriptors that it does not
/// know: it knows this one, and its pipes.
class event_loop {
 public:
  explicit event_loop(aio::engine_kind engine) : ctx{64, engine} {
    std::error_code ec;
    descriptor_ = ctx.descriptor(ec);
    EXPECT_GE(descriptor_, 0) << ec;
  }

  void close_unknown() const {
    for (int fd = 3; fd < highest_closed; ++fd)
      if (fd != descriptor_ && std::ranges::none_of(pipes_, [&](const auto& each) {
            return fd == each.read.get() || fd == each.write.get();
          }))
        ::syscall(SYS_close, fd);
  }
  /// Submits a poll of this pipe.
  void submit(std::size_t pipe) {
    std::error_code ec;
    ASSERT_TRUE(try_submit(pipe, ec)) << ec;
  }
  bool try_submit(std::size_t pipe, std::error_code& ec) {
    polls_.at(pipe) = aio::prep_poll(pipes_.at(pipe).read.get(), POLLIN);
    polls_.at(pipe).data = &polls_.at(pipe);
    return ctx.submit({&polls_.at(pipe)}, ec) == 1;
  }
  void write(std::size_t pipe) { ASSERT_EQ(::write(pipes_.at(pipe).write.get(), "x", 1), 1); }
  void take_byte(std::size_t pipe) {
    if (testing::Test::HasFatalFailure()) return;
    char byte = 0;
    ASSERT_EQ(::read(pipes_.at(pipe).read.get(), &byte, 1), 1);
  }
  aio::iocb& poll_of(std::size_t pipe) { return polls_.at(pipe); }

  /// @return whether the descriptor becomes readable in this time.
  [[nodiscard]] bool becomes_readable(std::chrono::milliseconds patience) const {
    pollfd readable{.fd = descriptor_, .events = POLLIN, .revents = 0};
    return ::poll(&readable, 1, static_cast<int>(patience.count())) == 1;
  }
  /// Waits for the descriptor, and gets the events whenever it is readable, until there is one.
  /// @return the request's data; null: the descriptor does not announce an event.
  [[nodiscard]] void* next() {
    while (becomes_readable(10s)) {
      std::array<aio::io_event, 1> events{};
      if (!ctx.get_events(0, events).empty()) return events[0].data;
    }
    return nullptr;
  }
  void complete(std::size_t pipe) {
    if (testing::Test::HasFatalFailure()) return;  // each failure takes the time of a wait
    write(pipe);
    ASSERT_EQ(next(), &polls_.at(pipe));
  }

  aio::context ctx;

 private:
  int descriptor_ = -1;
  std::array<doorbell::test::pipe_ends, 6> pipes_;
  std::array<aio::iocb, 6> polls_;
};

class descriptors_closed_in_a_loop : public testing::TestWithParam<aio::engine_kind> {};

// Oracle: the context's descriptor becomes readable for the request that was submitted after the loss, and after that
// for the request that was in flight.
TEST_P(descriptors_closed_in_a_loop, a_request_of_the_second_set_of_io_threads_is_announced) {
  in_child([] {
    event_loop loop{GetParam()};
    loop.submit(0);
    loop.close_unknown();
    loop.submit(1);
    loop.complete(1);
    loop.complete(0);
    loop.submit(2);
    loop.complete(2);
  });
}

// Oracle: as above, for each of several requests, of which those in flight complete first.
TEST_P(descriptors_closed_in_a_loop, requests_of_the_first_set_of_io_threads_are_announced) {
  in_child([] {
    event_loop loop{GetParam()};
    for (const auto pipe : {0UL, 1UL, 2UL}) loop.submit(pipe);
    loop.close_unknown();
    for (const auto pipe : {3UL, 4UL}) loop.submit(pipe);
    for (const auto pipe : {0UL, 3UL, 1UL, 4UL, 2UL}) loop.complete(pipe);
    loop.submit(5);
    loop.complete(5);
  });
}

// Oracle: each request is announced, although a set of I/O threads is lost before each further submit.
TEST_P(descriptors_closed_in_a_loop, requests_of_many_sets_of_io_threads_are_announced) {
  in_child([] {
    event_loop loop{GetParam()};
    for (const auto pipe : {0UL, 1UL, 2UL, 3UL, 4UL}) {
      loop.submit(pipe);
      loop.close_unknown();
    }
    loop.submit(5);
    for (const auto pipe : {2UL, 5UL, 0UL, 4UL, 1UL, 3UL}) loop.complete(pipe);
  });
}

// Oracle: after each of many losses, the next request is announced. There are more losses than eventfds that the ring
// can read.
TEST_P(descriptors_closed_in_a_loop, a_request_after_each_of_many_losses_is_announced) {
  in_child([] {
    event_loop loop{GetParam()};
    loop.submit(0);
    for (int times = 0; times < 20; ++times) {
      loop.close_unknown();
      loop.submit(1);
      loop.complete(1);
      loop.take_byte(1);
    }
  });
}

// Oracle: if a request is cancelled after the loss, it is announced: the thread that cancels it completes it.
TEST_P(descriptors_closed_in_a_loop, a_cancelled_request_is_announced) {
  in_child([] {
    event_loop loop{GetParam()};
    loop.submit(0);
    loop.close_unknown();
    loop.ctx.cancel(loop.poll_of(0));
    EXPECT_EQ(loop.next(), &loop.poll_of(0));
  });
}

// Oracle: if the ring or the kernel's AIO carries out a read after the loss, the read is announced.
TEST_P(descriptors_closed_in_a_loop, a_direct_read_is_announced) {
  in_child([] {
    event_loop loop{GetParam()};
    loop.submit(0);
    loop.close_unknown();
    const auto file = file_for_engine(std::string(4096, 'x'));
    alignas(4096) static std::array<char, 4096> block;
    auto read = aio::prep_pread(file.get(), block.data(), block.size(), 0);
    read.data = &read;
    ASSERT_EQ(loop.ctx.submit({&read}), 1U);
    EXPECT_EQ(loop.next(), &read);
    loop.complete(0);
  });
}

// Oracle: the request in flight at the loss, and one submitted after a shortage of descriptors, are announced, however
// often the library has tried to create an eventfd in the shortage.
TEST_P(descriptors_closed_in_a_loop, requests_are_announced_after_a_shortage_of_descriptors) {
  // Each attempt may advance to the next of the ring's 8 slots for eventfds (engine_uring.hpp). A fault would show only
  // after the number of attempts that leads back to the slot of the first eventfd. So each number from 0 to 8 is tried.
  for (int attempts = 0; attempts < 9 && !HasFailure(); ++attempts)
    in_child([&] {
      event_loop loop{GetParam()};
      loop.submit(0);
      loop.close_unknown();
      {
        const doorbell::test::no_more_fds shortage;
        std::error_code may_be_refused;
        loop.try_submit(1, may_be_refused);
        std::array<aio::io_event, 1> events{};
        for (int times = 0; times < attempts; ++times) std::ignore = loop.ctx.get_events(0, events);
      }
      loop.submit(2);
      for (const auto pipe : {2UL, 0UL}) loop.complete(pipe);
      EXPECT_FALSE(testing::Test::HasFailure()) << "after " << attempts << " attempts";
    });
}

// Oracle: a request in flight at the loss is announced although no eventfd can be made meanwhile, and no call follows.
TEST_P(descriptors_closed_in_a_loop, requests_in_flight_are_announced_during_a_shortage_of_descriptors) {
  in_child([] {
    event_loop loop{GetParam()};
    for (const auto pipe : {0UL, 1UL, 2UL}) loop.submit(pipe);
    loop.complete(2);  // so the I/O threads have the files of all three
    loop.close_unknown();
    const doorbell::test::no_more_fds shortage;
    loop.complete(0);
    loop.complete(1);
  });
}

// Oracle: each submit succeeds, although there are more losses than eventfds that the ring can read and the program
// makes no other call in between; then the completion of the last one is announced.
TEST_P(descriptors_closed_in_a_loop, requests_are_accepted_after_each_of_many_losses) {
  in_child([] {
    event_loop loop{GetParam()};
    for (int times = 0; times < 20 && !testing::Test::HasFatalFailure(); ++times) {
      loop.submit(0);
      loop.close_unknown();
    }
    loop.submit(1);
    loop.complete(1);
  });
}

/// The number of threads of this process with this name.
long threads_named(std::string_view name) {
  return std::ranges::count_if(std::filesystem::directory_iterator{"/proc/self/task"}, [&](const auto& task) {
    std::string known;
    std::getline(std::ifstream{task.path() / "comm"}, known);
    return known == name;
  });
}

// Oracle: the first set of I/O threads ends after the context, which continues, has got the last event of that set.
TEST_P(descriptors_closed_in_a_loop, the_first_set_of_io_threads_ends_when_its_requests_have_been_reaped) {
  in_child([] {
    event_loop loop{GetParam()};
    loop.submit(0);
    loop.close_unknown();
    loop.submit(1);
    // A worker has the name of its creator until it sets its own.
    EXPECT_TRUE(doorbell::test::eventually([] { return threads_named("doorbell-poller") == 2; }));
    loop.complete(0);
    EXPECT_TRUE(doorbell::test::eventually([] { return threads_named("doorbell-poller") == 1; }));
    loop.complete(1);
  });
}

// Oracle: where the system refuses io_uring_register(2), the requests submitted after the loss and the first completion
// of those that were in flight are announced.
TEST(descriptors_closed_in_flight, a_ring_that_keeps_no_files_announces_requests_after_the_loss) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  in_child([] {
    doorbell::test::refuse(SYS_io_uring_register, EPERM);
    event_loop loop{aio::engine_kind::io_uring};
    loop.submit(0);
    loop.close_unknown();
    loop.submit(1);
    for (const auto pipe : {1UL, 0UL}) loop.complete(pipe);
    for (int times = 0; times < 20; ++times) {
      loop.close_unknown();
      loop.submit(2);
      loop.complete(2);
      loop.take_byte(2);
    }
  });
}

// The thread that has ended started the ring's read of the eventfd. The read ends only after the loop has got the first
// event, and its result is reaped after the loss. Oracle: each request of this thread is announced.
TEST(descriptors_closed_in_flight, requests_of_a_thread_that_has_ended_are_announced) {
  in_child([] {
    event_loop loop{aio::engine_kind::io_uring};
    std::thread{[&] {
      for (const auto pipe : {0UL, 1UL, 2UL}) loop.submit(pipe);
    }}.join();
    loop.write(0);
    std::array<aio::io_event, 1> events{};
    ASSERT_TRUE(doorbell::test::eventually([&] { return !loop.ctx.get_events(0, events).empty(); }));
    EXPECT_EQ(events[0].data, &loop.poll_of(0));
    // The kernel ends the read in a thread of its own, usually later than the call above. If it was earlier, the
    // descriptor does not become readable.
    std::ignore = loop.becomes_readable(500ms);
    loop.close_unknown();
    EXPECT_TRUE(loop.ctx.get_events(0, events).empty());
    for (const auto pipe : {1UL, 2UL}) loop.complete(pipe);
  });
}

/// @return -1: the system refuses io_uring.
unique_fd new_io_uring() {
  io_uring_params parameters{};
  return unique_fd{static_cast<int>(::syscall(SYS_io_uring_setup, 4, &parameters))};
}

/// Puts a poll into the context's ring, so that a thread in get_events() sleeps at both the ring and the I/O threads.
/// It polls the descriptor of another io_uring, which the I/O threads do not take.
class request_in_ring {
 public:
  explicit request_in_ring(aio::context& ctx) {
    std::error_code ec;
    EXPECT_EQ(ctx.submit({&poll_}, ec), 1U) << ec;
  }

 private:
  unique_fd other_ring_ = new_io_uring();
  aio::iocb poll_ = aio::prep_poll(other_ring_.get(), POLLIN);
};

/// Completes the request while another thread sleeps in get_events() for it.
void complete_while_asleep(event_loop& loop, std::size_t pipe) {
  if (testing::Test::HasFatalFailure()) return;
  std::array<aio::io_event, 1> events{};
  std::size_t got = 0;
  doorbell::test::asleep getter{[&] { got = loop.ctx.get_events(1, events, 20s).size(); }};
  const auto begun = std::chrono::steady_clock::now();
  loop.write(pipe);
  getter.join();
  ASSERT_LT(std::chrono::steady_clock::now() - begun, 10s);
  ASSERT_EQ(got, 1U);
  ASSERT_EQ(events[0].data, &loop.poll_of(pipe));
}

// Oracle: long before its timeout, get_events() returns the event of a request that was in flight at the first loss,
// although there were more losses than eventfds that the ring can read.
TEST(descriptors_closed_in_flight, a_sleeper_gets_the_events_after_many_losses) {
  if (!new_io_uring()) GTEST_SKIP() << "no io_uring";
  in_child([] {
    event_loop loop{aio::engine_kind::io_uring};
    for (const auto pipe : {0UL, 1UL}) loop.submit(pipe);
    for (int times = 0; times < 9; ++times) {
      loop.close_unknown();
      loop.submit(2);
      loop.complete(2);
      loop.take_byte(2);
    }
    const request_in_ring waits{loop.ctx};
    for (const auto pipe : {0UL, 1UL}) complete_while_asleep(loop, pipe);
  });
}

// Oracle: the same after one loss, where the system refuses io_uring_register(2).
TEST(descriptors_closed_in_flight, a_sleeper_gets_the_events_if_the_ring_keeps_no_files) {
  if (!new_io_uring()) GTEST_SKIP() << "no io_uring";
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  in_child([] {
    doorbell::test::refuse(SYS_io_uring_register, EPERM);
    event_loop loop{aio::engine_kind::io_uring};
    for (const auto pipe : {0UL, 1UL, 2UL}) loop.submit(pipe);
    loop.close_unknown();
    const request_in_ring waits{loop.ctx};
    for (const auto pipe : {0UL, 1UL, 2UL}) complete_while_asleep(loop, pipe);
  });
}

// Oracle: the soft limit of descriptors stays as the program has set it, lower than the number of files that the ring
// can keep, and a request submitted under this limit is announced.
TEST(descriptor_limit, is_not_raised_by_a_request_of_an_event_loop) {
  in_child([] {
    ASSERT_EQ(::syscall(SYS_close_range, 3, ~0U, 0), 0);
    const doorbell::test::pipe_ends pipe;
    aio::context ctx{8, aio::engine_kind::io_uring};
    std::error_code ec;
    pollfd announced{.fd = ctx.descriptor(ec), .events = POLLIN, .revents = 0};
    ASSERT_GE(announced.fd, 0) << ec;
    // The library can use those numbers below 7 that neither the pipe nor standard output and error have.
    ::syscall(SYS_close, STDIN_FILENO);
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t before = std::exchange(limit.rlim_cur, 7);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
    const auto submitted = ctx.submit({&poll}, ec);
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(std::exchange(limit.rlim_cur, before), 7U);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    ASSERT_EQ(submitted, 1U) << ec;
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    ASSERT_EQ(::poll(&announced, 1, 10'000), 1);
    std::array<aio::io_event, 1> events{};
    ASSERT_EQ(ctx.get_events(1, events, 10s).size(), 1U);
    EXPECT_EQ(events[0].res, POLLIN);
  });
}

INSTANTIATE_TEST_SUITE_P(, descriptors_closed_in_a_loop,
                         testing::Values(aio::engine_kind::io_uring, aio::engine_kind::threads),
                         [](const auto& tested) {
                           return std::string{tested.param == aio::engine_kind::threads ? "threads" : "io_uring"};
                         });

}  // namespace
