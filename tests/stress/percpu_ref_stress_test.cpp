// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>

#include <doorbell/base/percpu_ref.hpp>
#include <doorbell/base/rcu.hpp>

#include "support/cpus.hpp"
#include "support/race.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::base::percpu_ref;
using doorbell::base::rcu_pointer;
using doorbell::base::rcu_read_guard;
using doorbell::base::rcu_synchronize;
using doorbell::test::allowed_cpus;
using doorbell::test::budget;
using doorbell::test::on_cpu;
using doorbell::test::run_together;
using doorbell::test::spin_until;

// Like a context: found in a table, used while a reference is held, released with the last reference.
struct object {
  static void release(percpu_ref& ref) noexcept {
    auto& self = static_cast<counted&>(ref).owner;
    ++self.releases;
    self.releases.notify_one();
  }

  struct counted : percpu_ref {
    explicit counted(object& whose) : percpu_ref{&object::release}, owner{whose} {}
    object& owner;
  };

  /// The work of a holder: accesses data that only holders may access.
  void use() {
    ASSERT_EQ(releases, 0);
    ++uses;
  }

  std::atomic<int> releases{0};
  std::atomic<int> uses{0};
  counted users{*this};
};

// Oracle: release does not run before the put of a thread that got a reference, and it runs once.
TEST(percpu_ref_stress, takers_against_kill) {
  constexpr std::size_t takers = 3;
  for (int round = 0; round < 2000; ++round) {
    object shared;
    run_together(takers + 1, [&](std::size_t index) {
      if (index == takers) {
        ASSERT_TRUE(shared.users.kill());
        ASSERT_FALSE(shared.users.tryget_live());
        return;
      }
      while (shared.users.tryget_live()) {
        shared.use();
        if (index == 0 && shared.users.tryget()) {
          shared.use();
          shared.users.put();
        }
        shared.users.put();
      }
      ASSERT_TRUE(shared.users.is_dying());
    });
    ASSERT_EQ(shared.releases, 1);
    ASSERT_FALSE(shared.users.tryget());
  }
}

// Oracle: release runs with the last put and not before, on whichever CPU and side of the switch the gets and puts
// occur. All references are taken on the CPU whose shard is closed last, and dropped on the CPU whose shard is closed
// first: most of the puts would bring the count to zero if the switch did not keep it above zero.
TEST(percpu_ref_stress, references_cross_cpus_while_the_count_is_switched) {
  const auto cpus = allowed_cpus();
  if (cpus.size() < 2) GTEST_SKIP() << "needs two CPUs";
  constexpr int references = 400;
  for (budget rounds{1000}; rounds.next();) {
    object shared;
    std::atomic<int> given_back{0};
    run_together(2, [&](std::size_t index) {
      const on_cpu here{index == 0 ? cpus.front() : cpus.back()};
      if (index == 1) {
        for (int n = 0; n < references; ++n) shared.users.get();
        given_back.store(1);
        given_back.notify_one();
        spin_until([&] { return given_back >= references / 4; });
        ASSERT_TRUE(shared.users.kill());
        return;
      }
      given_back.wait(0);
      for (int n = 1; n < references; ++n) {
        given_back.store(n);
        shared.users.put();
      }
    });
    ASSERT_EQ(shared.releases, 0);
    shared.users.put();
    ASSERT_EQ(shared.releases, 1);
  }
}

// Oracle: a lookup gets a reference to an object, which is neither released nor freed while the reference is held, or
// gets none. Each object is released once. The sanitizers check the memory.
TEST(percpu_ref_stress, lookups_of_objects_that_are_taken_away) {
  constexpr std::size_t readers = 3;
  constexpr int rounds = 300;
  constexpr int enough_lookups = 3000;  // not all readers run yet when the first rounds end
  rcu_pointer<object> table{new object};
  std::atomic<int> lookups{0};
  std::atomic<bool> done{false};
  const auto take_away = [&] {
    const std::unique_ptr<object> old{table.exchange(new object)};
    ASSERT_TRUE(old->users.kill());
    old->releases.wait(0);
    rcu_synchronize();
    ASSERT_EQ(old->releases, 1);
  };
  const auto look_up = [&]() -> object* {
    const rcu_read_guard reading;
    object* const found = table.load(reading);
    return found->users.tryget_live() ? found : nullptr;
  };
  run_together(readers + 1, [&](std::size_t index) {
    if (index == readers) {
      for (int round = 0; round < rounds || lookups < enough_lookups; ++round) take_away();
      done = true;
      return;
    }
    while (!done)
      if (object* const held = look_up()) {
        held->use();
        held->users.put();
        ++lookups;
      }
  });
  ASSERT_TRUE(table.load_for_update()->users.kill());
  delete table.load_for_update();
}

}  // namespace
