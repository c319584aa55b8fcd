// SPDX-License-Identifier: Apache-2.0
//
// Threads that are cancelled while they wait in a call of libaio. On the kernel, such a thread may end inside the call.
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "queue.hpp"
#include "support/files.hpp"
#include "support/threads.hpp"

namespace {

thread_local constinit unsigned yields = 0;

}  // namespace

// The library calls this one, because the program exports it.
extern "C" int sched_yield() noexcept {
  ++yields;
  return static_cast<int>(::syscall(SYS_sched_yield));
}

namespace {

using doorbell::test::queue;

/// A thread that waits for the event of a poll, and what has become of it.
struct waiting_thread {
  explicit waiting_thread(int type) : type_{type} {
    ::io_prep_poll(&poll, pipe.read.get(), POLLIN);
    EXPECT_EQ(context.submit(poll), 1);
    EXPECT_EQ(::pthread_create(&thread_, nullptr, wait, this), 0);
    EXPECT_TRUE(sleeper_.wait_until_asleep());
  }

  void cancel() { EXPECT_EQ(::pthread_cancel(thread_), 0); }
  [[nodiscard]] bool is_asleep() { return sleeper_.wait_until_asleep(); }

  /// Lets the poll complete. @return the thread's result.
  void* end() {
    EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1);
    void* ended_by = nullptr;
    EXPECT_EQ(::pthread_join(thread_, &ended_by), 0);
    return ended_by;
  }

  queue context;
  doorbell::test::pipe_ends pipe;
  iocb poll{};
  io_event event{};
  int type_after = -1;
  int state_after = -1;
  bool has_returned = false;

 private:
  static void* wait(void* argument) {
    auto& own = *static_cast<waiting_thread*>(argument);
    ::pthread_setcanceltype(own.type_, nullptr);
    own.sleeper_.here();
    ::io_getevents(own.context.handle(), 1, 1, &own.event, nullptr);
    own.has_returned = true;
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &own.state_after);
    ::pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &own.type_after);
    return argument;
  }

  const int type_;
  pthread_t thread_{};
  doorbell::test::sleeper sleeper_;
};

// Oracle: the call has its event, and the thread ends before the next call.
TEST(cancelled_threads, with_asynchronous_cancellation_end_after_the_call_in_which_they_wait) {
  for (int n = 0; n < 3; ++n) {
    waiting_thread waiting{PTHREAD_CANCEL_ASYNCHRONOUS};
    waiting.cancel();
    EXPECT_TRUE(waiting.is_asleep());
    EXPECT_EQ(waiting.end(), PTHREAD_CANCELED);
    EXPECT_FALSE(waiting.has_returned);
    EXPECT_EQ(waiting.event.obj, &waiting.poll);
    EXPECT_EQ(waiting.event.res, POLLIN);
    EXPECT_EQ(::io_destroy(waiting.context.handle()), 0);
  }
}

// Oracle: the call has its event, and is no cancellation point.
TEST(cancelled_threads, with_deferred_cancellation_continue_after_the_call) {
  waiting_thread waiting{PTHREAD_CANCEL_DEFERRED};
  waiting.cancel();
  EXPECT_TRUE(waiting.is_asleep());
  EXPECT_EQ(waiting.end(), &waiting);
  EXPECT_EQ(waiting.event.obj, &waiting.poll);
}

// Oracle: after the end of a cancelled thread, other threads' calls do not yield.
TEST(cancelled_threads, after_their_end_calls_of_other_threads_do_not_yield) {
  waiting_thread waiting{PTHREAD_CANCEL_ASYNCHRONOUS};
  waiting.cancel();
  EXPECT_TRUE(waiting.is_asleep());
  EXPECT_EQ(waiting.end(), PTHREAD_CANCELED);
  yields = 0;
  for (int n = 0; n < 10; ++n) EXPECT_EQ(::io_destroy(nullptr), -EINVAL);
  EXPECT_EQ(yields, 0U);
  // Control: a thread that may be cancelled at any time yields in each call, and sched_yield() above counts it.
  // NOLINTNEXTLINE(concurrency-thread-canceltype-asynchronous): the test is about such threads
  ::pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
  const int answer = ::io_destroy(nullptr);
  ::pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, nullptr);
  EXPECT_EQ(answer, -EINVAL);
  EXPECT_EQ(yields, 1U);
}

TEST(cancelled_threads, have_after_a_call_the_settings_that_they_had_before) {
  for (const int type : {PTHREAD_CANCEL_ASYNCHRONOUS, PTHREAD_CANCEL_DEFERRED}) {
    waiting_thread waiting{type};
    EXPECT_EQ(waiting.end(), &waiting);
    EXPECT_EQ(waiting.type_after, type);
    EXPECT_EQ(waiting.state_after, PTHREAD_CANCEL_ENABLE);
  }
}

}  // namespace
