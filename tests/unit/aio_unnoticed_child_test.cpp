// SPDX-License-Identifier: Apache-2.0
//
// A child created by a direct clone(2): the first call of one of its threads notices that it is a child, and forgets
// its parent's threads and contexts.
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/call_scope.hpp>
#include <doorbell/base/rcu.hpp>

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <thread>
#include <utility>

#include "../../aio/context/call.hpp"
#include "../../aio/context/fork.hpp"
#include "../../aio/context/sleep_record.hpp"
#include "../../aio/system/kernel_context.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/cloned_child.hpp"
#include "support/in_handler.hpp"
#include "support/sanitizer.hpp"

namespace {

/// Called when a thread has found the child unnoticed, and begins to notice it: become_child() first makes liburcu
/// forget the parent's threads.
std::function<void()> before_child_is_noticed;
std::atomic<int> yields{0};

}  // namespace

extern "C" {

// NOLINTBEGIN(readability-identifier-naming): the linker's names
void __real_urcu_bp_after_fork_child();
void __wrap_urcu_bp_after_fork_child() {
  if (const auto called = std::exchange(before_child_is_noticed, nullptr)) called();
  __real_urcu_bp_after_fork_child();
}

int __real_sched_yield();
int __wrap_sched_yield() {
  ++yields;
  return __real_sched_yield();
}
// NOLINTEND(readability-identifier-naming)
}

namespace {

namespace aio = doorbell::aio;
using doorbell::test::in_cloned_child;

/// The beginning of any call of the library.
void begin_call() {
  const aio::call inside;
  EXPECT_TRUE(inside);
}

class aio_unnoticed_child : public testing::Test {
 protected:
  void SetUp() override {
    if (doorbell::test::sanitized) GTEST_SKIP() << "the fork handlers of a sanitizer do not run for a direct clone(2)";
  }

  static void expect_to_be_noticed() {
    EXPECT_TRUE(aio::is_unnoticed_child());
    begin_call();
    EXPECT_FALSE(aio::is_unnoticed_child());
  }
};

TEST_F(aio_unnoticed_child, is_noticed_by_its_first_call) {
  begin_call();
  EXPECT_FALSE(aio::is_unnoticed_child());
  in_cloned_child([] { expect_to_be_noticed(); });
  EXPECT_FALSE(aio::is_unnoticed_child());
}

// The call that the handler has interrupted may hold locks, and may be changing what the child would forget.
// Oracle: a call that is refused changes nothing; the next one notices the child.
TEST_F(aio_unnoticed_child, is_not_noticed_by_a_call_of_a_handler_that_is_refused) {
  begin_call();
  in_cloned_child([] {
    {
      const doorbell::base::call_scope interrupted;
      const aio::call refused;
      EXPECT_FALSE(refused);
      EXPECT_TRUE(aio::is_unnoticed_child());
    }
    expect_to_be_noticed();
  });
}

TEST_F(aio_unnoticed_child, of_a_process_that_has_forked_is_noticed) {
  doorbell::test::in_child([] {
    EXPECT_FALSE(aio::is_unnoticed_child());
    in_cloned_child([] { expect_to_be_noticed(); });
  });
  in_cloned_child([] { expect_to_be_noticed(); });
}

// Oracle: the child's grace period ends, although a thread of the parent was in a section when the child was created.
TEST_F(aio_unnoticed_child, does_not_wait_for_sections_of_its_parents_threads) {
  std::atomic<bool> may_end{false};
  doorbell::test::asleep reader{[&] {
    const doorbell::base::rcu_read_guard reading;
    may_end.wait(false);
  }};
  in_cloned_child([] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // liburcu waits with all signals blocked, so SIGALRM would not end it
    begin_call();
    doorbell::base::rcu_synchronize();
  });
  may_end = true;
  may_end.notify_all();
}

TEST_F(aio_unnoticed_child, forgets_its_parents_contexts_of_the_kernel) {
  const auto made = aio::kernel_context::create(1);
  if (made == 0) GTEST_SKIP() << "no kernel AIO in this system";
  in_cloned_child([&] {
    begin_call();
    EXPECT_FALSE(aio::kernel_context::is_own(made));
  });
  doorbell::test::in_child([&] { EXPECT_FALSE(aio::kernel_context::is_own(made)); });
  EXPECT_TRUE(aio::kernel_context::is_own(made));
  aio::kernel_context::destroy(made);
}

// A thread may have found the child unnoticed, and then sleep while another thread notices it.
// Oracle: when it continues, it does not take the child's own context for one of the parent's.
TEST_F(aio_unnoticed_child, is_noticed_once) {
  in_cloned_child([] {
    aio::aio_context_t own = 0;
    ASSERT_EQ(aio::io_setup(1, &own), 0);
    aio::become_child();
    EXPECT_EQ(aio::io_destroy(own), 0);
  });
}

// Oracle: while one thread notices the child, the call of another thread waits, and then creates a context that is not
// taken for one of the parent's.
TEST_F(aio_unnoticed_child, is_noticed_by_one_of_two_threads_while_the_other_one_waits) {
  in_cloned_child([] {
    std::atomic<bool> has_begun{false};
    aio::aio_context_t own = 0;
    std::jthread other;
    before_child_is_noticed = [&] {
      yields = 0;
      other = std::jthread{[&] {
        begin_call();
        has_begun = true;
        EXPECT_EQ(aio::io_setup(1, &own), 0);
      }};
      while (yields == 0 && !has_begun) ::syscall(SYS_sched_yield);
      EXPECT_FALSE(has_begun);
    };
    begin_call();
    ASSERT_TRUE(other.joinable());
    other.join();
    EXPECT_EQ(aio::io_destroy(own), 0);
  });
}

/// Calls `body` in a signal handler that interrupts a sleep in io_pgetevents.
void in_interrupted_sleep(const std::function<void()>& body) {
  sigset_t usual;
  sigset_t before;
  sigemptyset(&usual);
  sigaddset(&usual, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &usual, &before);
  aio::aio_context_t ctx = 0;
  ASSERT_EQ(aio::io_setup(1, &ctx), 0);
  {
    const doorbell::test::in_handler handler{body};
    ::raise(SIGUSR1);
    sigset_t none;
    sigemptyset(&none);
    const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
    aio::io_event event{};
    EXPECT_EQ(aio::io_pgetevents(ctx, 1, 1, &event, nullptr, &mask), -EINTR);
  }
  EXPECT_EQ(aio::io_destroy(ctx), 0);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Oracle: the child has no record of the sleep. When it leaves the handler by siglongjmp(3), its next call does not end
// the sleep, for which it would need locks of the context that threads of the parent may have held.
TEST_F(aio_unnoticed_child, and_a_child_of_fork_forget_the_sleep_that_their_parents_thread_is_in) {
  in_interrupted_sleep([] {
    EXPECT_TRUE(aio::sleep_record::has_any());
    in_cloned_child([] {
      begin_call();
      EXPECT_FALSE(aio::sleep_record::has_any());
    });
    doorbell::test::in_child([] { EXPECT_FALSE(aio::sleep_record::has_any()); });
    EXPECT_TRUE(aio::sleep_record::has_any());
  });
}

}  // namespace
