// SPDX-License-Identifier: Apache-2.0
//
// A process with waiting requests, events that no thread has fetched, and threads asleep in waits: none of its threads
// uses the processor.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <system_error>

#include "support/asleep.hpp"
#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/others_asleep.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

std::chrono::nanoseconds used_by_process() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
}

// Measures long enough to detect threads that poll periodically, and threads that spin.
void expect_idle(const char* what) {
  doorbell::test::expect_others_fall_asleep();
  const auto before = used_by_process();
  ::poll(nullptr, 0, 300);
  EXPECT_LT(used_by_process() - before, 60ms) << what;
}

void signal_by_pipe(const doorbell::test::pipe_ends& pipe) { ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1); }

class aio_idle : public testing::Test {
 protected:
  /// Completes a request of each kind and fetches their events.
  void use_all_threads() {
    const auto file = doorbell::test::temporary_file("hello");
    const doorbell::test::pipe_ends pipe;
    char byte = 0;
    auto sync = aio::prep_fsync(file.get());
    auto file_read = doorbell::test::by_engine(aio::prep_pread(file.get(), &byte, 1, 0));
    auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
    auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    ASSERT_EQ(ctx_.submit({&sync, &file_read, &poll, &read}), 4U);
    signal_by_pipe(pipe);
    std::array<aio::io_event, 4> events{};
    ASSERT_EQ(ctx_.get_events(4, events, 20s).size(), 4U);
  }

  aio::context ctx_{8};
  doorbell::test::pipe_ends pipe_;
  char byte_ = 0;
  aio::iocb read_ = aio::prep_pread(pipe_.read.get(), &byte_, 1, 0);
};

TEST_F(aio_idle, after_requests_of_all_kinds_and_while_a_read_waits) {
  use_all_threads();
  expect_idle("after requests");
  ASSERT_EQ(ctx_.submit({&read_}), 1U);
  expect_idle("while a read waits");
}

TEST_F(aio_idle, while_events_that_signalled_an_eventfd_are_not_fetched) {
  const doorbell::eventfd efd{0, 0};
  read_.set_eventfd(efd);
  for (int times = 0; times < 3; ++times) {
    ASSERT_EQ(ctx_.submit({&read_}), 1U);
    signal_by_pipe(pipe_);
    ASSERT_EQ(efd.read(), 1U);
    expect_idle("with an event");
  }
}

TEST_F(aio_idle, while_the_descriptor_is_readable_and_no_event_is_fetched) {
  std::error_code ec;
  pollfd readable{.fd = ctx_.descriptor(ec), .events = POLLIN, .revents = 0};
  ASSERT_EQ(ctx_.submit({&read_}), 1U);
  signal_by_pipe(pipe_);
  ASSERT_EQ(::poll(&readable, 1, 20'000), 1);
  expect_idle("with a completion");
}

TEST_F(aio_idle, while_an_eventfd_is_full) {
  const auto efd = doorbell::test::kernel_eventfd();
  const std::uint64_t most = ~std::uint64_t{0} - 1;
  ASSERT_EQ(::write(efd.get(), &most, sizeof most), 8);
  aio::aio_context_t handle = 0;
  ASSERT_EQ(aio::io_setup(8, &handle), 0);
  aio::iocb_abi asked = read_;
  asked.flags = aio::iocb_abi::flag_resfd;
  asked.resfd = static_cast<std::uint32_t>(efd.get());
  aio::iocb_abi* list = &asked;
  ASSERT_EQ(aio::io_submit(handle, 1, &list), 1);
  signal_by_pipe(pipe_);
  expect_idle("with a full eventfd");
  EXPECT_EQ(aio::io_destroy(handle), 0);
}

TEST_F(aio_idle, while_threads_sleep_for_events) {
  use_all_threads();
  ASSERT_EQ(ctx_.submit({&read_}), 1U);
  const auto get = [&] {
    std::array<aio::io_event, 1> events{};
    std::error_code ec;
    (void)ctx_.get_events(1, events, ec);
  };
  const auto get_with_mask = [&] {
    sigset_t none;
    sigemptyset(&none);
    const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
    aio::io_event event{};
    (void)aio::io_pgetevents(ctx_.handle(), 1, 1, &event, nullptr, &mask);
  };
  doorbell::test::asleep one{get};
  doorbell::test::asleep other{get};
  doorbell::test::asleep masked{get_with_mask};
  expect_idle("with threads asleep");
  ctx_.destroy();
}

}  // namespace
