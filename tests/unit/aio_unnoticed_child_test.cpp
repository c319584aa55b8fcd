// SPDX-License-Identifier: Apache-2.0
//
// A child created by a direct clone(2): the first call of one of its threads notices that it is a child, and forgets
// its parent's threads and contexts.
#include <doorbell/base/rcu.hpp>

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <atomic>
#include <csignal>

#include "../../aio/context/call.hpp"
#include "../../aio/context/fork.hpp"
#include "../../aio/system/kernel_context.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/cloned_child.hpp"
#include "support/sanitizer.hpp"

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
  EXPECT_TRUE(aio::kernel_context::is_own(made));
  aio::kernel_context::destroy(made);
}

}  // namespace
