// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <vector>

#include <doorbell/base/percpu_ref.hpp>
#include <doorbell/base/this_cpu.hpp>

#include "support/cpus.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::base::percpu_ref;
using doorbell::test::allowed_cpus;
using doorbell::test::on_cpu;
using doorbell::test::run_together;
using doorbell::test::spin_until;

struct watched_ref : percpu_ref {
  watched_ref() : percpu_ref{[](percpu_ref& ref) noexcept { ++static_cast<watched_ref&>(ref).releases; }} {}
  std::atomic<int> releases{0};
};

TEST(percpu_ref, a_new_ref_is_alive_and_can_be_destroyed_without_kill) {
  watched_ref ref;
  EXPECT_FALSE(ref.is_dying());
  EXPECT_EQ(ref.releases, 0);
}

TEST(percpu_ref, kill_drops_the_initial_reference_which_may_be_the_last) {
  watched_ref ref;
  EXPECT_TRUE(ref.kill());
  EXPECT_TRUE(ref.is_dying());
  EXPECT_EQ(ref.releases, 1);
}

TEST(percpu_ref, a_second_kill_returns_false_and_has_no_effect) {
  watched_ref ref;
  ref.get();
  EXPECT_TRUE(ref.kill());
  EXPECT_FALSE(ref.kill());
  EXPECT_EQ(ref.releases, 0);
  ref.put();
  EXPECT_FALSE(ref.kill());
  EXPECT_EQ(ref.releases, 1);
}

TEST(percpu_ref, while_alive_each_way_to_take_a_reference_succeeds_and_no_put_releases) {
  watched_ref ref;
  ref.get();
  EXPECT_TRUE(ref.tryget());
  EXPECT_TRUE(ref.tryget_live());
  for (int taken = 0; taken < 3; ++taken) ref.put();
  EXPECT_EQ(ref.releases, 0);
  EXPECT_TRUE(ref.tryget_live());
  EXPECT_TRUE(ref.kill());
  EXPECT_EQ(ref.releases, 0);
  ref.put();
  EXPECT_EQ(ref.releases, 1);
}

TEST(this_cpu, is_the_cpu_that_the_thread_is_bound_to) {
  for (const auto cpu : allowed_cpus()) {
    const on_cpu here{cpu};
    EXPECT_EQ(doorbell::base::this_cpu(), cpu);
  }
}

TEST(this_cpu, is_one_of_the_possible_cpus) {
  for (const auto cpu : allowed_cpus()) {
    const on_cpu here{cpu};
    EXPECT_LT(doorbell::base::this_cpu(), doorbell::base::possible_cpus());
  }
}

TEST(percpu_ref, after_kill_the_last_put_calls_release) {
  watched_ref ref;
  ref.get();
  ref.get();
  EXPECT_TRUE(ref.kill());
  ref.put();
  EXPECT_EQ(ref.releases, 0);
  ref.put();
  EXPECT_EQ(ref.releases, 1);
}

TEST(percpu_ref, while_dying_lookups_are_refused_and_holders_may_take_more) {
  watched_ref ref;
  ref.get();
  EXPECT_TRUE(ref.kill());
  EXPECT_FALSE(ref.tryget_live());
  ref.get();
  EXPECT_TRUE(ref.tryget());
  ref.put();
  ref.put();
  EXPECT_EQ(ref.releases, 0);
  ref.put();
  EXPECT_EQ(ref.releases, 1);
}

TEST(percpu_ref, after_release_no_reference_is_taken_and_release_is_not_called_again) {
  watched_ref ref;
  EXPECT_TRUE(ref.kill());
  for (int again = 0; again < 3; ++again) {
    EXPECT_FALSE(ref.tryget());
    EXPECT_FALSE(ref.tryget_live());
  }
  EXPECT_EQ(ref.releases, 1);
}

TEST(percpu_ref, a_reference_taken_on_one_cpu_may_be_dropped_on_another) {
  const auto cpus = allowed_cpus();
  if (cpus.size() < 2) GTEST_SKIP() << "there is one CPU";
  constexpr int taken = 1000;
  watched_ref ref;
  {
    const on_cpu here{cpus.front()};
    for (int n = 0; n < taken; ++n) ref.get();
  }
  const on_cpu there{cpus.back()};
  for (int n = 0; n < taken - 1; ++n) ref.put();
  EXPECT_TRUE(ref.kill());
  EXPECT_EQ(ref.releases, 0);
  ref.put();
  EXPECT_EQ(ref.releases, 1);
}

TEST(percpu_ref, references_taken_on_one_cpu_before_kill_may_be_dropped_on_another_after_it) {
  const auto cpus = allowed_cpus();
  if (cpus.size() < 2) GTEST_SKIP() << "there is one CPU";
  watched_ref ref;
  {
    const on_cpu here{cpus.front()};
    ref.get();
    EXPECT_TRUE(ref.tryget_live());
  }
  EXPECT_TRUE(ref.kill());
  const on_cpu there{cpus.back()};
  ref.put();
  EXPECT_EQ(ref.releases, 0);
  ref.put();
  EXPECT_EQ(ref.releases, 1);
}

// Oracle: exactly one of the kills returns true, and release is called once. The window between two kills is a few
// nanoseconds: so the threads meet before each kill, on different CPUs where there are some, and then delay it by all
// combinations of short times.
TEST(percpu_ref, exactly_one_of_concurrent_kills_returns_true) {
  constexpr int threads = 2;
  constexpr std::size_t times = 48;  // different delays, each a few nanoseconds longer than the last
  constexpr std::size_t step = 2;
  struct killed_ref : watched_ref {
    std::atomic<int> arrived{0};
    std::atomic<int> done{0};
  };
  std::vector<killed_ref> refs(times * times);
  const auto cpus = allowed_cpus();
  run_together(threads, [&](std::size_t index) {
    const on_cpu here{index == 0 ? cpus.front() : cpus.back()};
    for (std::size_t round = 0; round < refs.size(); ++round) {
      auto& ref = refs[round];
      ++ref.arrived;
      spin_until([&] { return ref.arrived == threads; });
      const auto hold_back = step * (index == 0 ? round % times : round / times);
      for (std::size_t n = 0; n < hold_back; ++n) EXPECT_EQ(ref.arrived, threads);
      if (ref.kill()) ++ref.done;
      EXPECT_FALSE(ref.tryget_live());
    }
  });
  for (const auto& ref : refs) {
    ASSERT_EQ(ref.done, 1);
    ASSERT_EQ(ref.releases, 1);
  }
}

// Oracle: release sees the writes that each holder made before its put (plain writes, which ThreadSanitizer checks),
// whether the put went to a shard or to the word in which kill gathers the shards.
TEST(percpu_ref, release_sees_all_writes_of_the_holders) {
  constexpr std::size_t holders = 3;
  struct written_ref : percpu_ref {
    written_ref()
        : percpu_ref{[](percpu_ref& ref) noexcept {
            auto& self = static_cast<written_ref&>(ref);
            for (const int mark : self.written) self.seen += mark;
          }} {}
    std::array<int, holders> written{};
    int seen = 0;
  };
  for (int round = 0; round < 500; ++round) {
    written_ref ref;
    for (std::size_t n = 0; n < holders; ++n) ref.get();
    run_together(holders + 1, [&](std::size_t index) {
      if (index == holders) {
        EXPECT_TRUE(ref.kill());
        return;
      }
      ref.written.at(index) = 1;
      ref.put();
    });
    ASSERT_EQ(ref.seen, int{holders});
  }
}

}  // namespace
