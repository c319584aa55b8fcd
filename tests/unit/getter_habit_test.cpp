// SPDX-License-Identifier: Apache-2.0
//
// When a thread has the habit of sleeping for the events of a context. The tests of engine_failover show its effect.
#include "../../aio/engine/getter_habit.hpp"

#include <gtest/gtest.h>
#include <poll.h>

namespace {

using doorbell::aio::getter_habit;

void gain(getter_habit& by) {
  for (unsigned n = 0; n < getter_habit::enough_sleeps; ++n) by.note_sleep();
}
void sleep_once() { ::poll(nullptr, 0, 1); }

TEST(habit_of_getters, sleeps_elsewhere_before_the_first_sleep_here_do_not_count) {
  for (int n = 0; n < 20; ++n) sleep_once();
  getter_habit habit;
  gain(habit);
  habit.note_late();
  EXPECT_TRUE(habit.is_of_this_thread());
}

// It suffices that the thread keeps the habit in half of the rounds, because the kernel may put the thread to sleep for
// another reason, for example to load a page.
TEST(habit_of_getters, a_thread_that_sleeps_only_here_keeps_it) {
  constexpr int rounds = 20;
  getter_habit habit;
  gain(habit);
  habit.note_late();
  int kept = 0;
  for (int n = 0; n < rounds; ++n) {
    habit.note_sleep();
    sleep_once();  // stands for the sleep for events
    habit.note_late();
    kept += habit.is_of_this_thread();
  }
  EXPECT_GE(kept, rounds / 2);
}

TEST(habit_of_getters, a_thread_that_also_sleeps_elsewhere_loses_it) {
  getter_habit habit;
  gain(habit);
  habit.note_late();
  for (int n = 0; n < 4; ++n) {
    habit.note_sleep();
    sleep_once();
    sleep_once();
    habit.note_late();
  }
  EXPECT_FALSE(habit.is_of_this_thread());
}

}  // namespace
