// SPDX-License-Identifier: Apache-2.0
//
// Forks of a process that has two copies of the library and one liburcu.
#include <doorbell/base/rcu.hpp>

#include <gtest/gtest.h>

#include <dlfcn.h>

#include <atomic>
#include <latch>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/sanitizer.hpp"

DOORBELL_TEST_FORKS

namespace {

using doorbell::base::rcu_read_guard;
using doorbell::base::rcu_synchronize;
using doorbell::test::in_child;

/// The second copy is loaded once, and not unloaded.
class two_copies : public testing::Test {
 protected:
  void SetUp() override {
    void* const copy = ::dlopen(SECOND_COPY, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(copy, nullptr) << ::dlerror();
    synchronize_by_second_copy = reinterpret_cast<void (*)()>(::dlsym(copy, "synchronize_by_second_copy"));
    ASSERT_NE(synchronize_by_second_copy, nullptr);
  }
  void synchronize_by_both() const {
    rcu_synchronize();
    synchronize_by_second_copy();
  }

  void (*synchronize_by_second_copy)() = nullptr;
};

TEST_F(two_copies, synchronize_in_the_child_and_in_the_parent) {
  for (int round = 0; round < 3; ++round) {
    in_child([this] { synchronize_by_both(); });
    synchronize_by_both();
  }
}

TEST_F(two_copies, leave_no_section_open_in_a_thread_that_has_forked) {
  in_child([this] {
    std::thread{[this] { synchronize_by_both(); }}.join();
    in_child([this] { synchronize_by_both(); });
  });
  std::thread{[this] { synchronize_by_both(); }}.join();
}

// Oracle: each fork returns in parent and child, although other threads are in grace periods and sections.
TEST_F(two_copies, fork_while_others_synchronize_and_read) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "locks of a sanitizer may be held at the fork of a busy process";
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  others.emplace_back([&] {
    while (!stop) rcu_synchronize();
  });
  others.emplace_back([&] {
    while (!stop) synchronize_by_second_copy();
  });
  others.emplace_back([&] {
    while (!stop) const rcu_read_guard reading;
  });
  for (int round = 0; round < 40; ++round) in_child([this] { synchronize_by_both(); });
  stop = true;
  for (auto& each : others) each.join();
}

// The fork happens inside a section, as in a signal handler that has interrupted the section. The other thread holds
// liburcu's mutexes, and waits for the section. Oracle: a grace period of the child, which has no other threads, ends.
TEST_F(two_copies, fork_in_a_section_that_another_thread_waits_for) {
  std::latch is_reading{1};
  std::latch may_end{1};
  std::jthread reader{[&] {
    std::optional<rcu_read_guard> reading{std::in_place};
    is_reading.count_down();
    may_end.wait();
    in_child([&] {
      reading.reset();
      synchronize_by_both();
    });
  }};
  is_reading.wait();
  doorbell::test::asleep waits{[] { rcu_synchronize(); }};
  may_end.count_down();
  waits.join();
}

}  // namespace
