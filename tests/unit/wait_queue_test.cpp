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

/// An entry with a function that the test sets. It appends its name to the log when it is woken.
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
  /// @return the names of the entries that a walk wakes, in order.
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

TEST_F(wait_queue_walk, of_an_empty_queue_wakes_no_entry) {
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(woken(), "");
}

TEST_F(wait_queue_walk, visits_entries_in_the_order_of_addition) {
  add(b_, a_, c_);
  EXPECT_EQ(woken(), "bac");
  remove(a_, b_, c_);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(wait_queue_walk, passes_its_events) {
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

TEST_F(wait_queue_walk, visits_exclusive_entries_last_whenever_they_were_added) {
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

TEST_F(wait_queue_walk, ends_with_the_first_exclusive_entry_that_consumes_it_and_they_take_turns) {
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

TEST_F(wait_queue_walk, goes_on_after_an_exclusive_entry_that_does_not_consume_it) {
  y_.then = [](unsigned) { return 1; };
  add(x_, y_, z_);
  EXPECT_EQ(woken(), "xy");
  EXPECT_EQ(woken(), "xzy");
  remove(x_, y_, z_);
}

TEST_F(wait_queue_walk, is_not_consumed_by_an_entry_that_is_not_exclusive) {
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

TEST_F(wait_queue_walk, is_ended_by_a_negative_result) {
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

TEST_F(wait_queue_walk, survives_the_removal_of_a_visited_entry) {
  c_.then = [&](unsigned) {
    if (a_.linked()) queue_.remove(a_);
    return 0;
  };
  add(a_, b_, c_, x_);
  EXPECT_EQ(woken(), "abcx");
  EXPECT_EQ(woken(), "bcx");
  remove(b_, c_, x_);
}

TEST_F(wait_queue_walk, survives_the_removal_of_all_entries) {
  a_.then = [&](unsigned) {
    remove(x_, a_, c_, b_);
    return 0;
  };
  add(a_, b_, c_, x_);
  EXPECT_EQ(woken(), "a");
  EXPECT_TRUE(queue_.empty());
}

TEST_F(wait_queue_walk, does_not_access_an_entry_that_its_own_function_has_freed) {
  for (const bool exclusive : {false, true}) {
    auto freed = std::make_unique<named>(log_, 'f', exclusive);
    freed->then = [&](unsigned) {
      queue_.remove(*freed);
      // The function object is freed with the entry; the code below uses only the stack.
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

TEST_F(wait_queue_walk, does_not_visit_again_an_entry_that_was_added_again_during_it) {
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

TEST_F(wait_queue_walk, does_not_visit_an_entry_that_the_last_entry_adds) {
  a_.then = [&](unsigned) {
    if (!b_.linked()) queue_.add(b_);
    return 0;
  };
  add(a_);
  EXPECT_EQ(woken(), "a");
  EXPECT_EQ(woken(), "ab");
  remove(a_, b_);
}

TEST_F(wait_queue_walk, does_not_visit_an_entry_that_was_added_during_it) {
  a_.then = [&](unsigned) {
    if (!c_.linked()) queue_.add(c_);
    if (!x_.linked()) queue_.add(x_);
    return 0;
  };
  add(a_, b_);
  EXPECT_EQ(woken(), "ab");
  EXPECT_EQ(woken(), "abcx");
  remove(a_, b_, c_, x_);
}

TEST_F(wait_queue_walk, of_entries_that_add_themselves_again_visits_each_once) {
  for (auto* each : {&a_, &b_})
    each->then = [this, each](unsigned) {
      queue_.remove(*each);
      queue_.add(*each);
      return 0;
    };
  add(a_, b_);
  EXPECT_EQ(woken(), "ab");
  EXPECT_EQ(woken(), "ab");
  remove(a_, b_);
}

TEST_F(wait_queue_walk, an_entry_that_was_added_during_it_can_be_removed_during_it) {
  a_.then = [&](unsigned) {
    add(b_, x_, c_);
    remove(b_, x_);
    return 0;
  };
  add(a_);
  EXPECT_EQ(woken(), "a");
  a_.then = [](unsigned) { return 0; };
  EXPECT_EQ(woken(), "ac");
  remove(a_, c_);
}

TEST_F(wait_queue_walk, makes_one_pass_for_each_input_that_a_function_announces) {
  int calls = 0;
  a_.then = [&](unsigned events) {
    EXPECT_EQ(events, static_cast<unsigned>(POLLIN));
    if (++calls == 1) {
      queue_.walk_again(POLLIN);
      queue_.walk_again(POLLIN);
    }
    return 0;
  };
  add(a_, b_);
  EXPECT_EQ(woken(), "ababab");
  EXPECT_EQ(woken(), "ab");
  remove(a_, b_);
}

TEST_F(wait_queue_walk, makes_one_pass_for_all_room_that_functions_announce) {
  std::string events_seen;
  a_.then = [&](unsigned events) {
    events_seen += events == POLLOUT ? 'o' : 'i';
    return 0;
  };
  b_.then = [&](unsigned events) {
    if (events == POLLOUT) return 0;
    queue_.walk_again(POLLOUT);
    queue_.walk_again(POLLOUT);
    return 0;
  };
  add(a_, b_);
  EXPECT_EQ(woken(), "abab");
  EXPECT_EQ(events_seen, "io");
  remove(a_, b_);
}

// Oracle: an entry is woken for each input that is announced after it was added, and for none before.
TEST_F(wait_queue_walk, wakes_an_entry_added_during_it_for_later_announcements_only) {
  int calls = 0;
  a_.then = [&](unsigned) {
    if (++calls > 1) return 0;
    queue_.walk_again(POLLIN);
    add(c_);  // too late for the first pass and for the one that has been announced
    queue_.walk_again(POLLIN);
    return 0;
  };
  add(a_, b_);
  EXPECT_EQ(woken(), "abababc");
  remove(a_, b_, c_);
}

TEST_F(wait_queue_walk, wakes_an_entry_added_during_it_for_room) {
  unsigned told = 0;
  a_.then = [&](unsigned events) {
    if (events != POLLIN) return 0;
    add(c_, b_);
    queue_.walk_again(POLLOUT);
    return 0;
  };
  b_.then = [&](unsigned events) {
    told = events;
    queue_.remove(b_);
    return 0;
  };
  add(a_);
  EXPECT_EQ(woken(), "aacb");
  EXPECT_EQ(told, static_cast<unsigned>(POLLOUT));
  EXPECT_FALSE(b_.linked());
  a_.then = [](unsigned) { return 0; };
  EXPECT_EQ(woken(), "ac");
  remove(a_, c_);
}

TEST_F(wait_queue_walk, knows_which_entrys_function_runs_and_for_which_events) {
  unsigned own = 0;
  unsigned others = 1;
  a_.then = [&](unsigned) {
    queue_.remove(a_);
    own = wait_queue::events_told_to(a_);
    others = wait_queue::events_told_to(b_);
    return 0;
  };
  add(a_, b_);
  walk(POLLHUP, wait_queue::exclusive::all);
  EXPECT_EQ(own, static_cast<unsigned>(POLLHUP));
  EXPECT_EQ(others, 0U);
  EXPECT_EQ(wait_queue::events_told_to(b_), 0U);
  remove(b_);
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

TEST_F(wait_queue_walk, an_entry_can_become_exclusive_before_it_is_added_again) {
  add(a_, b_);
  remove(a_);
  a_.set_exclusive(true);
  add(a_);
  EXPECT_EQ(woken(), "ba");
  add(c_);
  EXPECT_EQ(woken(), "bca");
  remove(a_, b_, c_);
}

/// An entry that exists only for the parent: a child removes it.
struct parents_only final : doorbell::base::process_entry {
  explicit parents_only(std::string& into) : process_entry{&on_wake}, log{into} {}
  static int on_wake(wait_entry& entry, unsigned /*events*/) noexcept {
    static_cast<parents_only&>(entry).log += 'p';
    return 0;
  }
  [[nodiscard]] bool begin_in_child() noexcept override {
    ++begun;
    return false;
  }
  std::string& log;
  int begun = 0;
};

// As in a child of a fork(2) in a wake function. Oracle: the pass goes on with exactly the remaining entries, wherever
// the removed ones were on the queue.
TEST_F(wait_queue_walk, goes_on_in_a_child_without_the_entries_that_the_child_removes) {
  parents_only first{log_};
  parents_only second{log_};
  parents_only third{log_};
  a_.then = [&](unsigned) {
    queue_.begin_in_child();
    return 0;
  };
  add(first, a_, second, b_, third, x_, y_);
  EXPECT_EQ(woken(), "pabxy") << "the first one was woken before the fork";
  a_.then = [](unsigned) { return 0; };
  EXPECT_EQ(woken(), "abxy");
  add(c_);
  EXPECT_EQ(woken(), "abcxy") << "an entry that is not exclusive comes before those that are";
  EXPECT_EQ(first.begun + second.begun + third.begun, 3);
  remove(y_, x_, b_, a_, c_);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(wait_queue_walk, goes_on_in_a_child_that_removes_the_next_entry) {
  parents_only next{log_};
  a_.then = [&](unsigned) {
    if (next.begun == 0) queue_.begin_in_child();
    return 0;
  };
  add(a_, next, b_);
  EXPECT_EQ(woken(), "ab");
  EXPECT_EQ(woken(), "ab");
  remove(a_, b_);
}

}  // namespace
