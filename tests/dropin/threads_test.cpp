// SPDX-License-Identifier: Apache-2.0
//
// Programs with threads: many concurrent ones, threads with small stacks, and threads that are cancelled.
#include <doorbell/base/unique_fd.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "queue.hpp"
#include "support/eventually.hpp"
#include "support/files.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::test::queue;
using doorbell::test::temporary_file;

constexpr std::size_t block = 4096;

std::array<std::uint64_t, block / sizeof(std::uint64_t)> block_of(std::uint64_t number) {
  std::array<std::uint64_t, block / sizeof(std::uint64_t)> made{};
  for (auto& each : made) each = number++ * 0x9E3779B97F4A7C15U;
  return made;
}

// Oracle: each thread reads back the bytes that it wrote, and gets only the events of its own context.
TEST(threads, each_with_a_context_read_back_what_they_wrote) {
  constexpr std::size_t threads = 4;
  constexpr std::uint64_t rounds = 200;
  const auto file = temporary_file();
  std::atomic<std::uint64_t> right{0};
  doorbell::test::run_together(threads, [&](std::size_t index) {
    queue mine;
    for (std::uint64_t round = 0; round < rounds; ++round) {
      const auto written = block_of(index * rounds + round);
      const std::uint64_t offset = (index * rounds + round) * block;
      const auto at = static_cast<long long>(offset);
      auto read = block_of(0);
      if (mine.write(file.get(), written.data(), block, at) == block &&
          mine.read(file.get(), read.data(), block, at) == block && read == written)
        ++right;
    }
  });
  EXPECT_EQ(right, threads * rounds);
}

// Oracle: all threads submit to one context and get events from it, and each event is got exactly once.
TEST(threads, on_one_context_get_each_event_once) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t requests = 256;
  const auto file = temporary_file("x");
  queue shared{static_cast<int>(threads * requests)};
  struct asked {
    iocb request;
    char text = 0;
    std::atomic<int> got{0};
  };
  std::vector<asked> all(threads * requests);
  doorbell::test::run_together(threads, [&](std::size_t index) {
    for (std::size_t n = 0; n < requests; ++n) {
      auto& mine = all[index * requests + n];
      ::io_prep_pread(&mine.request, file.get(), &mine.text, 1, 0);
      mine.request.data = &mine;
      if (shared.submit(mine.request) != 1) continue;
      io_event event{};
      if (shared.next(event) == 1 && event.res == 1) ++static_cast<asked*>(event.data)->got;
    }
  });
  EXPECT_TRUE(std::ranges::all_of(all, [](const asked& each) { return each.got == 1 && each.text == 'x'; }));
}

using thread_body = void* (*)(void*);

/// Runs `body` in a thread with a stack of the smallest possible size.
void run_on_a_small_stack(thread_body body, void* argument) {
  pthread_attr_t small;
  ASSERT_EQ(::pthread_attr_init(&small), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&small, static_cast<std::size_t>(PTHREAD_STACK_MIN)), 0);
  pthread_t thread{};
  ASSERT_EQ(::pthread_create(&thread, &small, body, argument), 0);
  ASSERT_EQ(::pthread_join(thread, nullptr), 0);
  ::pthread_attr_destroy(&small);
}

struct small_stack_answers {
  int file = -1;
  int pipe = -1;
  int efd = -1;
  int setup = -1;
  long written = -1;
  long read = -1;
  int submitted = -1;
  int got = -1;
  int destroyed = -1;
  bool same = false;
};

void* first_calls(void* argument) {
  auto& answers = *static_cast<small_stack_answers*>(argument);
  static const auto written = block_of(7);  // static, so that the library can use the whole stack
  static auto read = block_of(0);
  static iocb waiting;
  io_context_t ctx = nullptr;
  answers.setup = ::io_setup(8, &ctx);
  const auto carry_out = [&](iocb& request) {
    iocb* list = &request;
    io_event event{};
    answers.submitted = ::io_submit(ctx, 1, &list);
    answers.got = ::io_getevents(ctx, 1, 1, &event, nullptr);
    return static_cast<long>(event.res);
  };
  iocb request;
  ::io_prep_pwrite(&request, answers.file, const_cast<std::uint64_t*>(written.data()), block, 0);
  ::io_set_eventfd(&request, answers.efd);
  answers.written = carry_out(request);
  ::io_prep_pread(&request, answers.file, read.data(), block, 0);
  answers.read = carry_out(request);
  ::io_prep_poll(&waiting, answers.pipe, POLLIN);
  iocb* list = &waiting;
  ::io_submit(ctx, 1, &list);
  answers.same = read == written;
  answers.destroyed = ::io_destroy(ctx);
  return nullptr;
}

TEST(threads, with_the_smallest_stacks_can_make_their_first_calls) {
  const auto file = temporary_file();
  const doorbell::test::pipe_ends pipe;
  const doorbell::base::unique_fd efd{::eventfd(0, EFD_NONBLOCK)};
  for (int n = 0; n < 8; ++n) {
    small_stack_answers answers{.file = file.get(), .pipe = pipe.read.get(), .efd = efd.get()};
    run_on_a_small_stack(first_calls, &answers);
    EXPECT_EQ(answers.setup, 0);
    EXPECT_EQ(answers.submitted, 1);
    EXPECT_EQ(answers.got, 1);
    EXPECT_EQ(answers.written, block);
    EXPECT_EQ(answers.read, block);
    EXPECT_TRUE(answers.same);
    EXPECT_EQ(answers.destroyed, 0);
  }
}

/// Submits and reaps while a cancellation of its thread is pending.
void* with_a_cancel_pending(void* argument) {
  auto& results = *static_cast<std::vector<long>*>(argument);
  const auto file = temporary_file("x");
  queue mine;
  char text = 0;
  ::pthread_cancel(::pthread_self());
  for (int n = 0; n < 100; ++n) results.push_back(mine.read(file.get(), &text, 1, 0));
  const doorbell::test::pipe_ends pipe;
  iocb poll;
  ::io_prep_poll(&poll, pipe.read.get(), POLLIN);
  timespec soon{.tv_sec = 0, .tv_nsec = 1'000'000};
  io_event event{};
  results.push_back(mine.submit(poll));
  results.push_back(::io_getevents(mine.handle(), 1, 1, &event, &soon));
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  return nullptr;
}

TEST(threads, are_not_cancelled_inside_the_library) {
  std::vector<long> results;
  pthread_t thread{};
  ASSERT_EQ(::pthread_create(&thread, nullptr, with_a_cancel_pending, &results), 0);
  void* ended_by = nullptr;
  ASSERT_EQ(::pthread_join(thread, &ended_by), 0);
  EXPECT_EQ(ended_by, nullptr) << "the thread was cancelled after " << results.size() << " calls";
  std::vector<long> expected(101, 1);
  expected.push_back(0);
  EXPECT_EQ(results, expected);
}

struct repeated_calls {
  int file = -1;
  std::atomic<int> rounds{0};  // how often all calls have been made
};

/// Makes all calls repeatedly until its thread is cancelled.
void* cancelled_at_any_time(void* argument) {
  auto& calls = *static_cast<repeated_calls*>(argument);
  static thread_local std::array<char, block> text;
  // NOLINTNEXTLINE(concurrency-thread-canceltype-asynchronous): the test cancels such a thread
  ::pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
  for (;;) {
    io_context_t context = nullptr;
    if (const int failed = ::io_setup(8, &context); failed != 0) {
      ADD_FAILURE() << "io_setup: " << failed;
      return nullptr;
    }
    iocb read;
    ::io_prep_pread(&read, calls.file, text.data(), text.size(), 0);
    iocb* asked = &read;
    io_event event{};
    timespec second{.tv_sec = 1, .tv_nsec = 0};
    ::io_submit(context, 1, &asked);
    ::io_getevents(context, 1, 1, &event, &second);
    ::io_destroy(context);
    ++calls.rounds;
  }
}

// Oracle: the thread ends, as with the kernel's AIO, and the process continues. The test cancels the nth thread after
// at least n rounds of calls. With the kernel's AIO, for which CMake sets no engine, it waits for 0, 1 or 2 rounds
// only: each round takes two grace periods of RCU, and delays other programs.
TEST(threads, with_asynchronous_cancellation_end_between_two_calls) {
  const auto file = temporary_file("x");
  repeated_calls calls{.file = file.get()};
  const bool is_kernels = std::getenv("DOORBELL_ENGINE") == nullptr;
  for (int n = 0; n < 20; ++n) {
    calls.rounds = 0;
    pthread_t thread{};
    ASSERT_EQ(::pthread_create(&thread, nullptr, cancelled_at_any_time, &calls), 0);
    EXPECT_TRUE(doorbell::test::eventually([&] { return calls.rounds >= (is_kernels ? n % 3 : n); }));
    EXPECT_EQ(::pthread_cancel(thread), 0);
    void* ended_by = nullptr;
    ASSERT_EQ(::pthread_join(thread, &ended_by), 0);
    EXPECT_EQ(ended_by, PTHREAD_CANCELED);
  }
}

}  // namespace
