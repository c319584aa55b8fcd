// SPDX-License-Identifier: Apache-2.0
//
// Which requests go to the ring, and how a thread that sleeps learns of completions in the ring and of the I/O threads.
#include "../../aio/engine/choice/engine_failover.hpp"

#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "support/asleep.hpp"
#include "support/files.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using namespace doorbell::aio;
using answered_by = request_observer::answered_by;

class ring_and_io_threads : public testing::Test {
 protected:
  static std::unique_ptr<engine_uring> make_ring() {
    std::error_code ec;
    auto made = engine_uring::make(8, ec);
    EXPECT_FALSE(ec) << ec.message();
    return made;
  }

  void start(request& asked) {
    request* const one = &asked;
    ASSERT_EQ(both_.start({&one, 1}), 1U);
  }
  /// @return null if there is no completion now.
  request* reap() {
    std::array<completion, 1> done{};
    return both_.reap(done) == 1 ? done[0].done : nullptr;
  }
  /// Sleeps until there is a completion.
  request* next() {
    for (;;) {
      if (auto* const done = reap()) return done;
      EXPECT_TRUE(both_.begin_wait());
      errno = EINTR;  // left by an earlier call
      EXPECT_NE(both_.wait({}), engine::wait_result::interrupted);
      both_.end_wait();
    }
  }
  answered_by carrier_of_read() {
    char byte = 0;
    const auto what = prep_pread(file_.get(), &byte, 1, 0);
    request read{what, &what};
    return carrier_of(read);
  }
  answered_by carrier_of(request& read) {
    read.ends_by_itself = true;
    start(read);
    EXPECT_EQ(next(), &read);
    return read.answered;
  }
  /// Records as many sleeps for events as the calling thread needs to have the habit.
  void gain_habit() {
    for (unsigned n = 0; n < getter_habit::enough_sleeps; ++n) both_.note_sleep();
  }

  const doorbell::test::watchdog dog_;
  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("x");
  engine_failover both_{make_ring(), 8};
};

TEST_F(ring_and_io_threads, first_requests_go_to_the_io_threads) { EXPECT_EQ(carrier_of_read(), answered_by::threads); }

TEST_F(ring_and_io_threads, requests_of_a_thread_that_sleeps_for_events_go_to_the_ring) {
  for (unsigned n = 1; n < getter_habit::enough_sleeps; ++n) both_.note_sleep();
  EXPECT_EQ(carrier_of_read(), answered_by::threads);
  both_.note_sleep();
  EXPECT_EQ(carrier_of_read(), answered_by::io_uring);
  EXPECT_TRUE(both_.takes_many_by_one_call());
}

// The ring would start a thread for each write through the page cache.
TEST_F(ring_and_io_threads, only_direct_writes_go_to_the_ring) {
  gain_habit();
  const char byte = 'x';
  const auto what = prep_pwrite(file_.get(), &byte, 1, 0);
  for (const bool is_direct : {false, true}) {
    request write{what, &what};
    write.is_direct = is_direct;
    EXPECT_EQ(carrier_of(write), is_direct ? answered_by::io_uring : answered_by::threads);
  }
}

TEST_F(ring_and_io_threads, requests_of_other_threads_go_to_the_io_threads) {
  gain_habit();
  const std::jthread other{[&] {
    EXPECT_EQ(carrier_of_read(), answered_by::threads);
    EXPECT_FALSE(both_.takes_many_by_one_call());
  }};
}

TEST_F(ring_and_io_threads, requests_of_a_thread_that_fetches_late_but_did_not_sleep_elsewhere_go_to_the_ring) {
  gain_habit();
  for (int n = 0; n < 100; ++n) both_.note_late();
  EXPECT_EQ(carrier_of_read(), answered_by::io_uring);
}

TEST_F(ring_and_io_threads, requests_of_a_thread_that_slept_elsewhere_go_to_the_io_threads_until_it_sleeps_for_events) {
  gain_habit();
  for (int n = 0; n < 100; ++n) both_.note_sleep();
  both_.note_late();
  EXPECT_TRUE(both_.takes_many_by_one_call());
  ::poll(nullptr, 0, 1);
  both_.note_late();
  EXPECT_FALSE(both_.takes_many_by_one_call());
  both_.note_sleep();
  EXPECT_TRUE(both_.takes_many_by_one_call());
}

TEST_F(ring_and_io_threads, requests_of_a_thread_go_to_the_io_threads_after_another_has_fetched_late) {
  gain_habit();
  std::thread{[&] { both_.note_late(); }}.join();
  EXPECT_EQ(carrier_of_read(), answered_by::threads);
}

TEST_F(ring_and_io_threads, requests_of_a_thread_whose_wait_timed_out_go_to_the_io_threads) {
  gain_habit();
  both_.note_departure();
  both_.note_sleep();
  EXPECT_EQ(carrier_of_read(), answered_by::threads);
}

TEST_F(ring_and_io_threads, requests_of_a_thread_that_sleeps_between_polls_go_to_the_io_threads) {
  gain_habit();
  both_.note_look();
  both_.note_look();
  both_.note_look();
  EXPECT_TRUE(both_.takes_many_by_one_call());
  ::poll(nullptr, 0, 1);
  both_.note_look();
  EXPECT_EQ(carrier_of_read(), answered_by::threads);
}

TEST_F(ring_and_io_threads, requests_of_a_thread_that_polls_before_it_sleeps_for_events_go_to_the_ring) {
  gain_habit();
  for (int n = 0; n < 10; ++n) {
    both_.note_look();
    ::poll(nullptr, 0, 1);  // stands for a sleep for events
    both_.note_sleep();
  }
  EXPECT_EQ(carrier_of_read(), answered_by::io_uring);
}

TEST_F(ring_and_io_threads, requests_of_a_thread_go_to_the_io_threads_after_another_has_slept) {
  gain_habit();
  std::thread{[&] { both_.note_sleep(); }}.join();
  EXPECT_EQ(carrier_of_read(), answered_by::threads);
}

TEST_F(ring_and_io_threads, requests_that_signal_an_eventfd_go_to_the_io_threads) {
  gain_habit();
  const doorbell::eventfd signalled;
  char byte = 0;
  const auto what = prep_pread(file_.get(), &byte, 1, 0);
  request read{what, &what};
  read.target.eventfd = signalled.context();
  EXPECT_EQ(carrier_of(read), answered_by::threads);
}

TEST_F(ring_and_io_threads, requests_go_to_the_ring_once_a_loop_has_the_descriptor) {
  EXPECT_GE(both_.descriptor(), 0);
  EXPECT_EQ(carrier_of_read(), answered_by::io_uring);
}

// Oracle: the engine that started the request is the one that cancels it, although another engine refused it before.
TEST_F(ring_and_io_threads, a_request_that_the_io_threads_refused_is_cancelled_in_the_ring) {
  gain_habit();
  const doorbell::test::pipe_ends empty;
  char byte = 0;
  const auto what = prep_pread(empty.read.get(), &byte, 1, 0);
  request read{what, &what};
  read.ends_by_itself = true;
  read.is_direct = true;
  read.may_use_kernel_aio = true;
  read.is_left_to_kernel = true;
  read.iocb.fildes = -1;
  request* const one = &read;
  EXPECT_EQ(both_.start({&one, 1}), 0U);
  read.iocb.fildes = empty.read.get();
  read.is_left_to_kernel = false;
  start(read);
  EXPECT_EQ(both_.cancel(read), engine::cancel_result::asked);
  EXPECT_EQ(next(), &read);
  EXPECT_EQ(read.answered, answered_by::io_uring);
}

/// A read of an empty pipe, which waits in the ring, and a poll of another pipe, which waits with the I/O threads.
class asleep_at_both : public ring_and_io_threads {
 protected:
  asleep_at_both() {
    in_ring_.ends_by_itself = true;
    in_ring_.is_direct = true;
  }

  void start_in_ring() {
    gain_habit();
    start(in_ring_);
  }
  static void complete(const doorbell::test::pipe_ends& pipe) { EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1); }

  /// Oracle: a thread that sleeps before `then` is called gets `expected`.
  void expect_next(request& expected, const std::function<void()>& then) {
    request* got = nullptr;
    {
      const doorbell::test::asleep waiter{[&] { got = next(); }};
      then();
    }
    EXPECT_EQ(got, &expected);
  }

  doorbell::test::pipe_ends of_ring_;
  doorbell::test::pipe_ends of_io_threads_;
  char byte_ = 0;
  const iocb read_ = prep_pread(of_ring_.read.get(), &byte_, 1, 0);
  const iocb poll_ = prep_poll(of_io_threads_.read.get(), POLLIN);
  request in_ring_{read_, &read_};
  request with_io_threads_{poll_, &poll_};
};

TEST_F(asleep_at_both, a_thread_learns_of_completions_of_both) {
  start_in_ring();
  start(with_io_threads_);
  expect_next(with_io_threads_, [&] { complete(of_io_threads_); });
  expect_next(in_ring_, [&] { complete(of_ring_); });
  EXPECT_EQ(in_ring_.answered, answered_by::io_uring);
}

TEST_F(asleep_at_both, a_thread_that_sleeps_in_the_ring_learns_of_a_completion_by_the_io_threads) {
  start_in_ring();
  expect_next(with_io_threads_, [&] {
    start(with_io_threads_);
    complete(of_io_threads_);
  });
  expect_next(in_ring_, [&] { complete(of_ring_); });
}

TEST_F(asleep_at_both, a_thread_that_sleeps_with_the_io_threads_learns_of_a_completion_in_the_ring) {
  start(with_io_threads_);
  expect_next(in_ring_, [&] {
    start_in_ring();
    complete(of_ring_);
  });
  expect_next(with_io_threads_, [&] { complete(of_io_threads_); });
}

TEST_F(asleep_at_both, wake_ends_the_wait_of_a_thread) {
  start_in_ring();
  start(with_io_threads_);
  {
    const doorbell::test::asleep waiter{[&] {
      EXPECT_TRUE(both_.begin_wait());
      EXPECT_EQ(both_.wait({}), engine::wait_result::ready);
      both_.end_wait();
    }};
    both_.wake();
  }
  EXPECT_EQ(reap(), nullptr);
  complete(of_io_threads_);
  EXPECT_EQ(next(), &with_io_threads_);
  complete(of_ring_);
  EXPECT_EQ(next(), &in_ring_);
}

TEST_F(asleep_at_both, a_thread_wakes_at_its_deadline) {
  start_in_ring();
  start(with_io_threads_);
  const auto until = std::chrono::steady_clock::now() + 50ms;
  EXPECT_EQ(both_.wait(until), engine::wait_result::timed_out);
  EXPECT_GE(std::chrono::steady_clock::now(), until);
  complete(of_ring_);
  EXPECT_EQ(next(), &in_ring_);
  complete(of_io_threads_);
  EXPECT_EQ(next(), &with_io_threads_);
}

// Oracle: each completion, whether of the ring or of the I/O threads, makes one of the descriptors readable.
TEST_F(asleep_at_both, the_descriptors_announce_completions_of_both) {
  start_in_ring();
  start(with_io_threads_);
  const auto descriptors = both_.descriptors();
  std::array<pollfd, 2> readable{pollfd{.fd = descriptors[0], .events = POLLIN, .revents = 0},
                                 pollfd{.fd = descriptors[1], .events = POLLIN, .revents = 0}};
  EXPECT_EQ(::poll(readable.data(), readable.size(), 0), 0);
  complete(of_io_threads_);
  EXPECT_EQ(::poll(readable.data(), readable.size(), 20'000), 1);
  EXPECT_EQ(next(), &with_io_threads_);
  EXPECT_EQ(::poll(readable.data(), readable.size(), 0), 0);
  complete(of_ring_);
  EXPECT_EQ(::poll(readable.data(), readable.size(), 20'000), 1);
  EXPECT_EQ(next(), &in_ring_);
}

}  // namespace
