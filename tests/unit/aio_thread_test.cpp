// SPDX-License-Identifier: Apache-2.0
//
// Threads that a program cancels by pthread_cancel(3), and threads that wait for events of other threads' requests.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <functional>
#include <system_error>

#include "support/asleep.hpp"
#include "support/eventually.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

/// Calls each function of a context while a request to cancel this thread is pending.
/// @return the number of calls with the same result as in a thread without a pending cancellation.
std::size_t call_all_with_a_cancel_pending(int file, int pipe) {
  ::pthread_cancel(::pthread_self());
  std::array<char, 8> text{};
  std::array<aio::io_event, 1> events{};
  std::size_t good = 0;
  {
    aio::context ctx{4};
    auto read = aio::prep_pread(file, text.data(), text.size(), 0);
    auto endless = aio::prep_pread(pipe, text.data(), text.size(), 0);
    good += ctx.submit({&read, &endless}) == 2;
    good += ctx.descriptor() >= 0;
    good += ctx.get_events(1, events, 20s).size() == 1;
    good += ctx.get_events(1, events, 1ms).empty();
    good += ctx.read_inline(read) == 8;
    ctx.cancel(endless);
    good += ctx.get_events(1, events, 20s).size() == 1;
    ctx.destroy();
  }
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  return good;
}

/// Calls `body`, which may request to cancel its thread, in a new thread. Expects that the thread returns from it.
void expect_to_return(std::function<void()> body) {
  const auto call = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  pthread_t thread{};
  ASSERT_EQ(::pthread_create(&thread, nullptr, call, &body), 0);
  void* ended_by = nullptr;
  ASSERT_EQ(::pthread_join(thread, &ended_by), 0);
  EXPECT_EQ(ended_by, nullptr) << "the thread was cancelled";
}

// Oracle: the thread returns from each call, with the same result as a thread without a pending cancellation.
TEST(aio_thread, is_not_cancelled_inside_a_context) {
  const auto file = doorbell::test::temporary_file("hello, world");
  const doorbell::test::pipe_ends pipe;
  std::size_t good = 0;
  expect_to_return([&] { good = call_all_with_a_cancel_pending(file.get(), pipe.read.get()); });
  EXPECT_EQ(good, 6U);
}

// To wake a thread that waits with a signal mask, destroy() writes to an eventfd, and write(2) is a cancellation point.
// Oracle: destroy() returns, and the waiting thread learns that the context is gone.
TEST(aio_thread, is_not_cancelled_while_it_destroys_a_context_with_a_waiting_thread) {
  aio::context ctx{4};
  int answer = 0;
  doorbell::test::asleep waits{[&answer, handle = ctx.handle()] {
    sigset_t none;
    sigemptyset(&none);
    const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
    aio::io_event event{};
    answer = aio::io_pgetevents(handle, 1, 1, &event, nullptr, &mask);
  }};
  auto ended = std::make_error_code(std::errc::not_supported);
  expect_to_return([&] {
    ::pthread_cancel(::pthread_self());
    ctx.destroy(ended);
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  });
  waits.join();
  EXPECT_FALSE(ended);
  EXPECT_EQ(answer, -EINVAL);
}

/// The time from a submit that completes a read inline until a thread that waits for the event has it: the best of
/// several attempts.
std::chrono::steady_clock::duration time_to_waiting_thread() {
  using clock = std::chrono::steady_clock;
  const auto file = doorbell::test::temporary_file("hello, world");
  std::array<char, 8> text{};
  auto best = clock::duration::max();
  for (int n = 0; n < 3; ++n) {
    aio::context ctx{4};
    auto read = aio::prep_pread(file.get(), text.data(), text.size(), 0);
    clock::time_point got;
    doorbell::test::asleep waits{[&] {
      std::array<aio::io_event, 1> events{};
      EXPECT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
      got = clock::now();
    }};
    const auto submitted = clock::now();
    EXPECT_EQ(ctx.submit({&read}), 1U);
    waits.join();
    best = std::min(best, got - submitted);
  }
  return best;
}

// submit completes the read inline, so no completion of the engine wakes the thread.
TEST(aio_thread, waiting_for_events_is_woken_by_a_request_that_submit_completes_inline) {
  EXPECT_LT(time_to_waiting_thread(), 300ms);
}

// If the leaving thread did not wake the second one, the second thread would look for events only after about a second.
// Oracle: in the quickest of a few rounds, the second thread gets its event much earlier.
TEST(aio_thread, behind_another_is_woken_when_the_other_leaves) {
  auto shortest = std::chrono::steady_clock::duration::max();
  for (int round = 0; round < 3; ++round) {
    const std::array<doorbell::test::pipe_ends, 2> pipes;
    std::array<char, 2> text{};
    aio::context ctx{8};
    auto first = aio::prep_pread(pipes[0].read.get(), text.data(), 1, 0);
    auto second = aio::prep_pread(pipes[1].read.get(), &text[1], 1, 0);
    ASSERT_EQ(ctx.submit({&first, &second}), 2U);
    std::atomic<int> returned{0};
    const auto get = [&] {
      std::array<aio::io_event, 1> event{};
      EXPECT_EQ(ctx.get_events(1, event, 20s).size(), 1U);
      ++returned;
    };
    doorbell::test::asleep one{get};
    doorbell::test::asleep other{get};
    ASSERT_EQ(::write(pipes[0].write.get(), "x", 1), 1);
    EXPECT_TRUE(doorbell::test::eventually([&] { return returned == 1; }));
    const auto before = std::chrono::steady_clock::now();
    ASSERT_EQ(::write(pipes[1].write.get(), "x", 1), 1);
    one.join();
    other.join();
    shortest = std::min(shortest, std::chrono::steady_clock::now() - before);
  }
  EXPECT_LT(shortest, 500ms);
}

}  // namespace
