// SPDX-License-Identifier: Apache-2.0
#include "../../base/spin_wait.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace {

namespace spin_wait = doorbell::base::spin_wait;

// The record of waits is per thread, so each test uses a new thread.
template <class Function>
void in_new_thread(Function function) {
  std::thread{function}.join();
}

TEST(spin_wait, a_thread_that_slept_checks_less_often_the_next_time_but_at_least_once) {
  in_new_thread([] {
    int before = spin_wait::looks();
    EXPECT_GT(before, 100);
    while (before > 1) {
      spin_wait::ended(false);
      const int now = spin_wait::looks();
      ASSERT_LT(now, before);
      ASSERT_GE(now, 1);
      before = now;
    }
  });
}

TEST(spin_wait, a_thread_that_acquired_the_lock_by_spinning_has_the_full_number_of_checks_again) {
  in_new_thread([] {
    const int all = spin_wait::looks();
    for (int i = 0; i < 5; ++i) spin_wait::ended(false);
    ASSERT_LT(spin_wait::looks(), all);
    spin_wait::ended(true);
    EXPECT_EQ(spin_wait::looks(), all);
  });
}

// Oracle: over many failed waits, the thread makes few checks in total, but not one check per wait forever.
TEST(spin_wait, a_thread_that_always_sleeps_makes_the_full_number_of_checks_now_and_then) {
  in_new_thread([] {
    constexpr int waits = 1000;
    const int all = spin_wait::looks();
    int total = 0;
    int complete = 0;
    for (int i = 0; i < waits; ++i) {
      total += spin_wait::looks();
      complete += spin_wait::looks() == all;
      spin_wait::ended(false);
    }
    EXPECT_GT(complete, 1);
    EXPECT_LT(total, waits * all / 10);
  });
}

TEST(spin_wait, the_waits_of_a_thread_do_not_affect_another) {
  in_new_thread([] {
    const int all = spin_wait::looks();
    spin_wait::ended(false);
    in_new_thread([all] { EXPECT_EQ(spin_wait::looks(), all); });
  });
}

}  // namespace
