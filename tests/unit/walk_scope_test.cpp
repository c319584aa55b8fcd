// SPDX-License-Identifier: Apache-2.0
//
// The work that wake functions defer: when it runs, in which order, and at which depth.
#include <doorbell/base/walk_scope.hpp>

#include <gtest/gtest.h>

#include <poll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <doorbell/base/wait_queue.hpp>

namespace {

using doorbell::base::wait_entry;
using doorbell::base::wait_queue;
using doorbell::base::walk_scope;

/// A queue with one entry, a flag in the place of a lock, and a walk that is deferred inside a wake function.
class flagged_queue {
 public:
  flagged_queue() { queue_.add(entry_); }
  ~flagged_queue() { queue_.remove(entry_); }
  flagged_queue(const flagged_queue&) = delete;
  flagged_queue& operator=(const flagged_queue&) = delete;

  void signal() noexcept {
    if (walk_scope::in_wake_function()) {
      walk_scope::defer(
          {[](void* object, std::uint64_t) noexcept { static_cast<flagged_queue*>(object)->signal(); }, this, 0});
      return;
    }
    const walk_scope scope;
    ++depth;
    deepest = std::max(deepest, depth);
    locked = true;
    queue_.walk(POLLIN, wait_queue::exclusive::one);
    locked = false;
    --depth;
  }

  std::function<void()> on_signal = [] {};
  bool locked = false;
  static inline int depth = 0;
  static inline int deepest = 0;

 private:
  struct entry : wait_entry {
    explicit entry(flagged_queue& whose) : wait_entry{&on_wake}, owner{whose} {}
    static int on_wake(wait_entry& woken, unsigned) noexcept {
      static_cast<entry&>(woken).owner.on_signal();
      return 0;
    }
    flagged_queue& owner;
  };

  wait_queue queue_;
  entry entry_{*this};
};

class deferred_work : public ::testing::Test {
 protected:
  void SetUp() override { flagged_queue::deepest = 0; }
  flagged_queue a_, b_, c_;
};

TEST_F(deferred_work, runs_after_the_lock_is_released) {
  std::optional<bool> lock_held;
  b_.on_signal = [&] { lock_held = a_.locked; };
  a_.on_signal = [&] {
    b_.signal();
    EXPECT_FALSE(lock_held) << "the nested signal was not deferred";
  };
  a_.signal();
  EXPECT_EQ(lock_held, false);
}

TEST_F(deferred_work, runs_in_the_order_of_deferral) {
  std::vector<char> order;
  b_.on_signal = [&] { order.push_back('b'); };
  c_.on_signal = [&] { order.push_back('c'); };
  a_.on_signal = [&] {
    b_.signal();
    c_.signal();
    b_.signal();
  };
  a_.signal();
  EXPECT_EQ(order, (std::vector{'b', 'c', 'b'}));
}

TEST_F(deferred_work, of_a_queue_for_itself_runs_once_for_each_deferral) {
  int signals = 0;
  a_.on_signal = [&] {
    if (++signals < 3) a_.signal();
  };
  a_.signal();
  EXPECT_EQ(signals, 3);
}

// Oracle: a cycle of any length is handled by a loop, and each walk of it is made.
TEST_F(deferred_work, of_queues_in_a_cycle_neither_recurses_nor_is_lost) {
  constexpr int laps = 10'000;
  int signals = 0;
  a_.on_signal = [&] { b_.signal(); };
  b_.on_signal = [&] { c_.signal(); };
  c_.on_signal = [&] {
    if (++signals < laps) a_.signal();
  };
  a_.signal();
  EXPECT_EQ(signals, laps);
  EXPECT_EQ(flagged_queue::deepest, 1);
}

TEST_F(deferred_work, may_exceed_the_preallocated_memory) {
  constexpr int many = 100;
  int signals = 0;
  b_.on_signal = [&] { ++signals; };
  a_.on_signal = [&] {
    for (int i = 0; i < many; ++i) b_.signal();
  };
  a_.signal();
  EXPECT_EQ(signals, many);
}

TEST_F(deferred_work, waits_for_the_outermost_scope) {
  int signals = 0;
  b_.on_signal = [&] { ++signals; };
  a_.on_signal = [&] { b_.signal(); };
  {
    const walk_scope outermost;
    a_.signal();
    EXPECT_EQ(signals, 0);
  }
  EXPECT_EQ(signals, 1);
}

TEST_F(deferred_work, does_not_run_again_in_the_next_walk) {
  int signals = 0;
  b_.on_signal = [&] { ++signals; };
  a_.on_signal = [&] { b_.signal(); };
  a_.signal();
  a_.on_signal = [] {};
  a_.signal();
  EXPECT_EQ(signals, 1);
}

}  // namespace
