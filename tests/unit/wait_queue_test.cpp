// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/wait_queue.hpp>

#include <gtest/gtest.h>

#include <poll.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <doorbell/base/walk_scope.hpp>

namespace {

using doorbell::base::wait_entry;
using doorbell::base::wait_queue;
using doorbell::base::walk_scope;

/// An entry whose function is whatever the test says, and which writes its name down when it is woken.
struct named : wait_entry {
  named(std::string& into, char letter, bool exclusive = false)
      : wait_entry{&on_wake, exclusive}, log{into}, name{letter} {}

  static int on_wake(wait_entry& entry, unsigned events) noexcept {
    auto& self = static_cast<named&>(entry);
    self.log += self.name;
    return self.then(events);
  }

  std::string& log;
  char name;
  std::function<int(unsigned)> then = [](unsigned) { return 0; };
};

class wait_queue_walk : public ::testing::Test {
 protected:
  void walk(unsigned events = POLLIN, wait_queue::exclusive limit = wait_queue::exclusive::one) {
    const walk_scope scope;
    queue_.walk(events, limit);
  }
  /// Who is woken by a walk, in order.
  std::string woken() {
    log_.clear();
    walk();
    return std::exchange(log_, {});
  }
  template <class... Entries>
  void add(Entries&... entries) {
    (queue_.add(entries), ...);
  }
  template <class... Entries>
  void remove(Entries&... entries) {
    (queue_.remove(entries), ...);
  }

  std::string log_;
  wait_queue queue_;
  named a_{log_, 'a'}, b_{log_, 'b'}, c_{log_, 'c'};
  named x_{log_, 'x', true}, y_{log_, 'y', true}, z_{log_, 'z', true};
};

TEST_F(wait_queue_walk, of_an_empty_queue_wakes_nobody) {
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(woken(), "");
}

TEST_F(wait_queue_walk, visits_in_the_order_they_came) {
  add(b_, a_, c_);
  EXPECT_EQ(woken(), "bac");
  remove(a_, b_, c_);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(wait_queue_walk, tells_what_happened) {
  unsigned seen = 0;
  a_.then = [&](unsigned events) {
    seen = events;
    return 0;
  };
  add(a_);
  walk(POLLHUP);
  EXPECT_EQ(seen, static_cast<unsigned>(POLLHUP));
  remove(a_);
}

TEST_F(wait_queue_walk, visits_exclusive_entries_last_whenever_they_came) {
  add(x_, a_, y_, b_);
  EXPECT_EQ(woken(), "abxy");
  remove(x_);
  add(c_);
  EXPECT_EQ(woken(), "abcy");
  remove(a_, b_, c_);
  add(a_);
  EXPECT_EQ(woken(), "ay");
  remove(a_, y_);
}

TEST_F(wait_queue_walk, ends_with_the_first_exclusive_entry_that_uses_it_and_they_take_turns) {
  for (auto* entry : {&x_, &y_, &z_}) entry->then = [](unsigned) { return 1; };
  add(a_, x_, y_, z_);
  EXPECT_EQ(woken(), "ax");
  EXPECT_EQ(woken(), "ay");
  EXPECT_EQ(woken(), "az");
  EXPECT_EQ(woken(), "ax");
  remove(y_);
  EXPECT_EQ(woken(), "az");
  EXPECT_EQ(woken(), "ax");
  remove(a_, x_, z_);
}

TEST_F(wait_queue_walk, goes_on_past_an_exclusive_entry_that_has_no_use_for_it) {
  y_.then = [](unsigned) { return 1; };
  add(x_, y_, z_);
  EXPECT_EQ(woken(), "xy");
  EXPECT_EQ(woken(), "xzy");
  remove(x_, y_, z_);
}

TEST_F(wait_queue_walk, is_not_used_up_by_an_entry_that_is_not_exclusive) {
  a_.then = [](unsigned) { return 1; };
  add(a_, b_, x_);
  EXPECT_EQ(woken(), "abx");
  remove(a_, b_, x_);
}

TEST_F(wait_queue_walk, without_a_limit_visits_all_exclusive_entries_and_leaves_them_in_place) {
  for (auto* entry : {&x_, &y_}) entry->then = [](unsigned) { return 1; };
  add(x_, y_);
  walk(POLLHUP, wait_queue::exclusive::all);
  EXPECT_EQ(log_, "xy");
  EXPECT_EQ(woken(), "x");
  remove(x_, y_);
}

TEST_F(wait_queue_walk, is_ended_by_a_negative_answer) {
  b_.then = [](unsigned) { return -1; };
  add(a_, b_, c_, x_);
  EXPECT_EQ(woken(), "ab");
  EXPECT_EQ(woken(), "ab");
  remove(a_, b_, c_, x_);
}

TEST_F(wait_queue_walk, survives_an_entry_that_removes_itself) {
  b_.then = [&](unsigned) {
    queue_.remove(b_);
    return 0;
  };
  add(a_, b_, c_);
  EXPECT_EQ(woken(), "abc");
  EXPECT_FALSE(b_.linked());
  EXPECT_EQ(woken(), "ac");
  remove(a_, c_);
}

TEST_F(wait_queue_walk, does_not_visit_a_next_entry_that_was_removed) {
  a_.then = [&](unsigned) {
    if (b_.linked()) queue_.remove(b_);
    return 0;
  };
  add(a_, b_, c_);
  EXPECT_EQ(woken(), "ac");
  remove(a_, c_);
}

TEST_F(wait_queue_walk, survives_the_removal_of_an_entry_that_it_has_passed) {
  c_.then = [&](unsigned) {
    if (a_.linked()) queue_.remove(a_);
    return 0;
  };
  add(a_, b_, c_, x_);
  EXPECT_EQ(woken(), "abcx");
  EXPECT_EQ(woken(), "bcx");
  remove(b_, c_, x_);
}

TEST_F(wait_queue_walk, survives_the_removal_of_all) {
  a_.then = [&](unsigned) {
    remove(x_, a_, c_, b_);
    return 0;
  };
  add(a_, b_, c_, x_);
  EXPECT_EQ(woken(), "a");
  EXPECT_TRUE(queue_.empty());
}

TEST_F(wait_queue_walk, does_not_touch_an_entry_that_its_own_function_has_freed) {
  for (const bool exclusive : {false, true}) {
    auto freed = std::make_unique<named>(log_, 'f', exclusive);
    freed->then = [&](unsigned) {
      queue_.remove(*freed);
      // The function object goes with the entry; all that is needed after that is on the stack.
      auto& owner = freed;
      owner.reset();
      return 1;
    };
    add(a_, *freed, b_);
    EXPECT_EQ(woken(), exclusive ? "abf" : "afb");
    EXPECT_EQ(freed, nullptr);
    remove(a_, b_);
  }
}

TEST_F(wait_queue_walk, does_not_visit_again_an_entry_that_came_back_during_it) {
  x_.then = [&](unsigned) {
    remove(x_);
    add(x_);
    return 1;
  };
  y_.then = [](unsigned) { return 1; };
  add(x_, y_);
  EXPECT_EQ(woken(), "x");
  EXPECT_EQ(woken(), "y");
  remove(x_, y_);
}

TEST_F(wait_queue_walk, has_fixed_its_end_before_the_last_entry_adds_another) {
  a_.then = [&](unsigned) {
    if (!b_.linked()) queue_.add(b_);
    return 0;
  };
  add(a_);
  EXPECT_EQ(woken(), "a");
  EXPECT_EQ(woken(), "ab");
  remove(a_, b_);
}

TEST_F(wait_queue_walk, is_known_to_its_thread_while_a_function_runs_and_no_longer) {
  wait_queue other;
  bool in_this = false;
  bool in_other = true;
  bool in_any = false;
  a_.then = [&](unsigned) {
    in_this = queue_.walked_by_this_thread();
    in_other = other.walked_by_this_thread();
    in_any = walk_scope::in_wake_function();
    return 0;
  };
  add(a_);
  {
    const walk_scope scope;
    EXPECT_FALSE(walk_scope::in_wake_function());
    queue_.walk(POLLIN, wait_queue::exclusive::one);
    EXPECT_FALSE(queue_.walked_by_this_thread());
    EXPECT_FALSE(walk_scope::in_wake_function());
  }
  EXPECT_TRUE(in_this);
  EXPECT_FALSE(in_other);
  EXPECT_TRUE(in_any);
  remove(a_);
}

TEST_F(wait_queue_walk, finds_the_first_entry_with_a_function) {
  wait_entry other{[](wait_entry&, unsigned) noexcept { return 0; }};
  add(other, b_, a_);
  EXPECT_EQ(queue_.find(&named::on_wake), &b_);
  remove(b_, a_);
  EXPECT_EQ(queue_.find(&named::on_wake), nullptr);
  remove(other);
}

TEST_F(wait_queue_walk, an_entry_can_become_exclusive_between_two_stays) {
  add(a_, b_);
  remove(a_);
  a_.set_exclusive(true);
  add(a_);
  EXPECT_EQ(woken(), "ba");
  add(c_);
  EXPECT_EQ(woken(), "bca");
  remove(a_, b_, c_);
}

}  // namespace
