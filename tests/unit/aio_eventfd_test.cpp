// SPDX-License-Identifier: Apache-2.0
//
// Completions that signal eventfds, and threads that wait for the events of a context.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <latch>
#include <thread>
#include <vector>

#include "support/by_engine.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/overtaking.hpp"
#include "support/signal_handler.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

class aio_eventfd : public testing::Test {
 protected:
  aio::iocb signalling_read() {
    auto read = doorbell::test::by_engine(aio::prep_pread(file_.get(), text_.data(), 5, 0));
    read.set_eventfd(efd_);
    return read;
  }

  doorbell::eventfd efd_;
  aio::context ctx_{64};
  doorbell::base::unique_fd file_ = doorbell::test::temporary_file("hello, world");
  std::array<char, 64> text_{};
};

TEST_F(aio_eventfd, completion_signals_its_eventfd_although_no_thread_gets_the_event) {
  auto read = signalling_read();
  ctx_.submit({&read});
  EXPECT_EQ(efd_.read_for(20s), 1U);
}

// Oracle: ThreadSanitizer, which identifies descriptors by their numbers, reports no race. Only the kernel orders the
// two threads.
TEST_F(aio_eventfd, descriptor_number_of_a_destroyed_context_can_be_reused) {
  std::atomic<bool> gone{false};
  std::jthread user{[&] {
    aio::context ctx{8};
    auto read = signalling_read();
    ctx.submit({&read});
    EXPECT_EQ(efd_.read_for(20s), 1U);
    ctx.destroy();
    gone.store(true, std::memory_order_relaxed);
  }};
  while (!gone.load(std::memory_order_relaxed)) std::this_thread::yield();
  const doorbell::base::unique_fd of_the_same_number{::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0)};
  EXPECT_TRUE(of_the_same_number);
}

TEST_F(aio_eventfd, eventfd_counts_every_completion) {
  auto write = aio::prep_pwrite(file_.get(), "HELLO", 5, 0);
  write.set_eventfd(efd_);
  std::vector<aio::iocb> writes(40, write);
  std::vector<aio::iocb*> pointers;
  for (auto& each : writes) pointers.push_back(&each);
  ASSERT_EQ(ctx_.submit(pointers), writes.size());
  std::uint64_t signals = 0;
  while (signals < writes.size()) signals += efd_.read_for(20s);
  EXPECT_EQ(signals, writes.size());
}

TEST_F(aio_eventfd, event_can_be_fetched_when_its_eventfd_is_signalled) {
  std::atomic<std::size_t> found{0};
  std::array<aio::io_event, 4> events{};
  std::latch signalled{1};
  const doorbell::notifier watch{efd_, [&](doorbell::eventfd_ctx&) {
                                   found = ctx_.get_events(0, events).size();
                                   signalled.count_down();
                                 }};
  auto read = signalling_read();
  ctx_.submit({&read});
  signalled.wait();
  EXPECT_EQ(found, 1U);
}

TEST_F(aio_eventfd, callback_of_a_completion_can_submit_the_next_request) {
  constexpr std::size_t rounds = 50;
  auto read = signalling_read();
  std::atomic<std::size_t> signals{0};
  std::latch done{1};
  std::array<aio::io_event, 4> events{};
  doorbell::notifier watch{efd_, [&](doorbell::eventfd_ctx&) {
                             (void)ctx_.get_events(0, events);
                             if (++signals < rounds)
                               ctx_.submit({&read});
                             else
                               done.count_down();
                           }};
  ctx_.submit({&read});
  done.wait();
  EXPECT_EQ(signals, rounds);
}

TEST_F(aio_eventfd, cancelled_request_signals_its_eventfd) {
  doorbell::test::pipe_ends pipe;
  auto read = aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0);
  read.set_eventfd(efd_);
  ctx_.submit({&read});
  ctx_.cancel(read);
  EXPECT_EQ(efd_.read_for(20s), 1U);
}

TEST_F(aio_eventfd, requests_cancelled_by_destroy_signal_their_eventfd) {
  doorbell::test::pipe_ends pipe;
  std::vector<aio::iocb> reads(8, aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0));
  for (auto& read : reads) {
    read.set_eventfd(efd_);
    ctx_.submit({&read});
  }
  ctx_.destroy();
  EXPECT_EQ(efd_.read(), reads.size());
}

TEST_F(aio_eventfd, submit_with_a_closed_eventfd_is_refused) {
  auto read = signalling_read();
  efd_.close();
  std::error_code ec;
  EXPECT_EQ(ctx_.submit({&read}, ec), 0U);
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
}

TEST_F(aio_eventfd, submit_with_a_resfd_but_without_set_eventfd_is_refused) {
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  read.flags = aio::iocb_abi::flag_resfd;
  std::error_code ec;
  EXPECT_EQ(ctx_.submit({&read}, ec), 0U);
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
}

TEST_F(aio_eventfd, full_kernel_eventfd_gets_the_remaining_count_of_a_request_submitted_in_a_callback) {
  constexpr std::uint64_t most = doorbell::eventfd::max;
  const auto full = doorbell::test::kernel_eventfd();
  ASSERT_EQ(::write(full.get(), &most, sizeof most), 8);
  aio::aio_context_t handle = 0;
  ASSERT_EQ(aio::io_setup(8, &handle), 0);
  aio::iocb read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  read.flags = aio::iocb_abi::flag_resfd;
  read.resfd = static_cast<std::uint32_t>(full.get());
  aio::iocb_abi* asked = &read;
  const doorbell::notifier submits{efd_, [&](auto&) { EXPECT_EQ(aio::io_submit(handle, 1, &asked), 1); }};
  efd_.signal();
  EXPECT_EQ(doorbell::test::take(full.get()), most);
  pollfd readable{.fd = full.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&readable, 1, 20'000), 1);
  EXPECT_EQ(doorbell::test::take(full.get()), 1U);
  EXPECT_EQ(aio::io_destroy(handle), 0);
}

TEST_F(aio_eventfd, request_in_flight_keeps_the_memory_of_its_eventfd_but_not_the_eventfd_open) {
  doorbell::test::pipe_ends pipe;
  auto read = aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0);
  read.set_eventfd(efd_);
  bool released = false;
  doorbell::notifier watch{efd_, [](doorbell::eventfd_ctx&) {}, [&] { released = true; }};
  ctx_.submit({&read});
  read = {};
  efd_.close();
  EXPECT_TRUE(released);
  watch.unregister();
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  std::array<aio::io_event, 1> events{};
  EXPECT_EQ(ctx_.get_events(1, events, 20s).size(), 1U);
}

TEST_F(aio_eventfd, destroy_wakes_a_thread_that_waits_for_events) {
  std::latch started{1};
  std::error_code ec;
  std::thread waiter{[&] {
    std::array<aio::io_event, 1> events{};
    started.count_down();
    (void)ctx_.get_events(1, events, ec);
  }};
  started.wait();
  ctx_.destroy();
  waiter.join();
  EXPECT_EQ(ec, std::errc::invalid_argument);
}

// Oracle: each event is returned to exactly one of the threads, and no thread stays asleep.
TEST_F(aio_eventfd, several_threads_share_the_events_of_one_context) {
  constexpr std::size_t each = 25;
  constexpr std::size_t threads = 3;
  std::vector<std::thread> waiters;
  std::atomic<std::size_t> got{0};
  for (std::size_t n = 0; n < threads; ++n) {
    waiters.emplace_back([&] {
      std::array<aio::io_event, 1> event{};
      for (std::size_t count = 0; count < each; ++count) got += ctx_.get_events(1, event, 20s).size();
    });
  }
  auto write = aio::prep_pwrite(file_.get(), "HELLO", 5, 0);
  for (std::size_t n = 0; n < threads * each; ++n) {
    std::error_code ec;
    while (ctx_.submit({&write}, ec) != 1) std::this_thread::yield();
  }
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(got, threads * each);
}

// Oracle: a thread that sleeps for an event returns with it, although another thread reaps the completion before the
// sleeper, which is slow, looks into the ring.
TEST_F(aio_eventfd, sleeping_thread_gets_an_event_that_another_thread_has_reaped) {
  doorbell::test::pipe_ends pipe;
  auto read = aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0);
  read.set_eventfd(efd_);
  std::size_t got = 0;
  doorbell::test::in_line_and_slow sleeper{[&] {
    std::array<aio::io_event, 1> event{};
    got = ctx_.get_events(1, event).size();
  }};
  {
    const doorbell::test::on_cpu in_its_way{doorbell::test::allowed_cpus().front()};
    ctx_.submit({&read});
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    while (!(efd_.poll() & POLLIN)) (void)ctx_.get_events(0, {});
  }
  sleeper.join();
  EXPECT_EQ(got, 1U);
}

TEST_F(aio_eventfd, signal_handler_interrupts_a_wait_without_events_even_with_sa_restart) {
  const doorbell::test::signal_handler handled{SA_RESTART};
  std::error_code ec;
  doorbell::test::call_under_signals([&] {
    std::array<aio::io_event, 1> events{};
    (void)ctx_.get_events(1, events, ec);
  });
  EXPECT_EQ(ec, std::errc::interrupted);
}

}  // namespace
