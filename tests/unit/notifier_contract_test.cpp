// SPDX-License-Identifier: Apache-2.0
//
// What wait queue and notifier promise, point by point, in the order of the design. Each holds here in one interleaving,
// brought about on purpose; the stress tests look for the others.
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <doorbell/eventfd.hpp>

#include "support/threads.hpp"

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::sleeper;
using sharing = notifier::sharing;

constexpr auto would_deadlock = std::errc::resource_deadlock_would_occur;

/// Unregisters in a thread of its own.
class unregistering {
 public:
  explicit unregistering(notifier& which)
      : thread_{[this, &which] {
          sleeping_.here();
          answer_ = which.unregister();
          returned_ = true;
        }} {}
  [[nodiscard]] bool waits() const { return sleeping_.wait_until_asleep() && !returned_; }
  [[nodiscard]] decoupled join() {
    thread_.join();
    return answer_;
  }

 private:
  sleeper sleeping_;
  decoupled answer_ = decoupled::not_registered;
  std::atomic<bool> returned_{false};
  std::jthread thread_;
};

TEST(notifier_contract, point_1_callbacks_run_in_the_signalling_thread) {
  const eventfd bell;
  std::thread::id caller;
  const notifier watcher{bell, [&](auto&) { caller = std::this_thread::get_id(); }};
  std::thread::id signaller;
  std::jthread{[&] {
    signaller = std::this_thread::get_id();
    bell.signal();
  }}.join();
  EXPECT_EQ(caller, signaller);
}

// Oracle: unregister sleeps for as long as the callback runs, and none runs after it has returned.
TEST(notifier_contract, point_1_unregister_waits_for_the_callback_that_runs) {
  const eventfd bell;
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  int calls = 0;
  notifier watcher{bell, [&](auto&) {
                     ++calls;
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                   }};
  subject = &watcher;
  bell.signal();
  EXPECT_EQ(other->join(), decoupled::by_us);
  bell.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier_contract, point_1_the_destructor_waits_for_the_callback_that_runs) {
  const eventfd bell;
  sleeper destroyer;
  std::atomic<bool> destroyed{false};
  std::jthread destroying;
  auto watcher = std::make_unique<notifier>([](auto&) {});
  const notifier first{bell, [&](auto&) {
                         destroying = std::jthread{[&] {
                           destroyer.here();
                           watcher.reset();
                           destroyed = true;
                         }};
                         EXPECT_TRUE(destroyer.wait_until_asleep());
                         EXPECT_FALSE(destroyed);
                       }};
  watcher->register_with(bell);
  bell.signal();
  destroying.join();
  EXPECT_TRUE(destroyed);
}

// Oracle: that it is not registered any more does not mean that nothing of it runs.
TEST(notifier_contract, point_1_unregister_waits_for_a_callback_that_has_unregistered_itself) {
  const eventfd bell;
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  notifier watcher{bell, [&](auto&) {
                     EXPECT_EQ(subject->unregister(), decoupled::by_us);
                     EXPECT_EQ(subject->unregister(), decoupled::not_registered);
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                   }};
  subject = &watcher;
  bell.signal();
  EXPECT_EQ(other->join(), decoupled::not_registered);
  watcher.register_with(bell);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

TEST(notifier_contract, point_1_unregister_waits_for_a_release_that_has_unregistered_its_notifier) {
  eventfd bell;
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  notifier watcher{bell, [](auto&) {},
                   [&] {
                     EXPECT_EQ(subject->unregister(), decoupled::by_hup);
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                   }};
  subject = &watcher;
  bell.close();
  EXPECT_EQ(other->join(), decoupled::not_registered);
  const eventfd another;
  watcher.register_with(another);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

TEST(notifier_contract, point_1_the_destructor_waits_for_a_callback_that_has_unregistered_itself) {
  const eventfd bell;
  sleeper destroyer;
  std::atomic<bool> destroyed{false};
  std::jthread destroying;
  std::unique_ptr<notifier> watcher;
  watcher = std::make_unique<notifier>(bell, [&](auto&) {
    watcher->unregister();
    destroying = std::jthread{[&] {
      destroyer.here();
      watcher.reset();
      destroyed = true;
    }};
    EXPECT_TRUE(destroyer.wait_until_asleep());
    EXPECT_FALSE(destroyed);
  });
  bell.signal();
  destroying.join();
  EXPECT_TRUE(destroyed);
}

TEST(notifier_contract, point_1_registering_elsewhere_waits_for_a_callback_that_has_unregistered_itself) {
  const eventfd bell;
  const eventfd another;
  sleeper registrar;
  std::atomic<bool> registered{false};
  std::jthread registering;
  notifier* subject = nullptr;
  notifier watcher{bell, [&](auto&) {
                     subject->unregister();
                     registering = std::jthread{[&] {
                       registrar.here();
                       subject->register_with(another);
                       registered = true;
                     }};
                     EXPECT_TRUE(registrar.wait_until_asleep());
                     EXPECT_FALSE(registered);
                   }};
  subject = &watcher;
  bell.signal();
  registering.join();
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

// Oracle: none of them ends the program, or is told what is not so.
TEST(notifier_contract, point_5_what_has_unregistered_itself_is_as_good_as_new) {
  eventfd bell;
  const eventfd another;
  notifier* subject = nullptr;
  bool again = true;
  int calls = 0;
  auto watcher = std::make_unique<notifier>(bell, [&](auto&) {
    ++calls;
    subject->unregister();
    if (again) subject->register_with(bell);
  });
  subject = watcher.get();
  bell.signal();
  bell.signal();
  again = false;
  bell.signal();
  bell.signal();
  EXPECT_EQ(calls, 3);
  const notifier other{another, [&](auto&) {
                         std::error_code ec;
                         EXPECT_EQ(watcher->unregister(ec), decoupled::not_registered);
                         EXPECT_FALSE(ec);
                         watcher.reset();
                       }};
  bell.close();
  another.signal();
  EXPECT_EQ(watcher, nullptr);
}

TEST(notifier_contract, point_2_unregister_first_and_hup_touches_nothing) {
  eventfd bell;
  int releases = 0;
  notifier watcher{bell, [](auto&) {}, [&] { ++releases; }};
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  bell.close();
  EXPECT_EQ(releases, 0);
}

TEST(notifier_contract, point_2_hup_first_and_unregister_touches_nothing) {
  eventfd bell;
  int calls = 0;
  int releases = 0;
  notifier watcher{bell, [&](auto&) { ++calls; }, [&] { ++releases; }};
  const auto context = bell.context();
  bell.close();
  EXPECT_EQ(releases, 1);
  context->signal();
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
  EXPECT_EQ(releases, 1);
  EXPECT_EQ(calls, 0);
}

TEST(notifier_contract, point_2_what_is_registered_is_active_before_any_walk) {
  const eventfd bell;
  int calls = 0;
  notifier second{[&](auto&) { ++calls; }};
  const notifier first{bell, [&](auto&) {
                         std::error_code ec;
                         second.register_with(bell, ec);
                       }};
  bell.signal();
  bell.signal();
  EXPECT_GE(calls, 1);
}

TEST(notifier_contract, point_3_unregister_says_that_it_won) {
  const eventfd bell;
  notifier watcher{bell, [](auto&) {}};
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
}

TEST(notifier_contract, point_3_unregister_says_that_hup_won) {
  eventfd bell;
  notifier watcher{bell, [](auto&) {}};
  bell.close();
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
  EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
}

TEST(notifier_contract, point_3_unregister_says_that_there_was_nothing) {
  notifier watcher{[](auto&) {}};
  EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
}

// Oracle: an unregister that loses against a HUP returns when release() has run to its end, and not while it runs.
TEST(notifier_contract, point_3_by_hup_means_that_release_has_run_to_its_end) {
  eventfd bell;
  std::optional<unregistering> loser;
  notifier* subject = nullptr;
  notifier watcher{bell, [](auto&) {},
                   [&] {
                     loser.emplace(*subject);
                     EXPECT_TRUE(loser->waits());
                   }};
  subject = &watcher;
  bell.close();
  EXPECT_EQ(loser->join(), decoupled::by_hup);
}

// ASan sees the lock being unlocked in memory that is gone, when this is broken.
TEST(notifier_contract, point_4_the_last_reference_is_dropped_when_the_lock_has_been_let_go) {
  {
    eventfd bell;
    notifier watcher{bell, [](auto&) {}};
    bell.close();
    EXPECT_EQ(watcher.unregister(), decoupled::by_hup) << "the notifier's is the last one";
  }
  {
    eventfd bell;
    notifier watcher{bell, [](auto&) {}};
    EXPECT_EQ(watcher.unregister(), decoupled::by_us);
    bell.close();  // the closer's is
  }
  {
    eventfd bell;
    notifier* subject = nullptr;
    notifier watcher{bell, [](auto&) {}, [&] { EXPECT_EQ(subject->unregister(), decoupled::by_hup); }};
    subject = &watcher;
    bell.close();  // the closer's again: the notifier's went during its walk
  }
}

TEST(notifier_contract, point_5_a_callback_may_unregister_its_own_notifier) {
  const eventfd bell;
  int calls = 0;
  notifier* subject = nullptr;
  notifier watcher{bell, [&](auto&) {
                     ++calls;
                     EXPECT_EQ(subject->unregister(), decoupled::by_us);
                   }};
  subject = &watcher;
  bell.signal();
  bell.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier_contract, point_5_a_callback_may_unregister_any_other_on_the_same_eventfd) {
  const eventfd bell;
  std::string called;
  std::vector<notifier*> others;
  notifier before{bell, [&](auto&) { called += 'b'; }};
  const notifier watcher{bell, [&](auto&) {
                           called += 'w';
                           for (auto* other : others) other->unregister();
                         }};
  notifier next{bell, [&](auto&) { called += 'n'; }};
  notifier last{bell, [&](auto&) { called += 'l'; }};
  others = {&before, &next, &last};
  bell.signal();
  EXPECT_EQ(called, "bw");
  bell.signal();
  EXPECT_EQ(called, "bww");
}

TEST(notifier_contract, point_5_release_may_unregister_the_others) {
  eventfd bell;
  std::string released;
  notifier* other = nullptr;
  notifier first{bell, [](auto&) {},
                 [&] {
                   released += 'f';
                   EXPECT_EQ(other->unregister(), decoupled::by_us);
                 }};
  notifier second{bell, [](auto&) {}, [&] { released += 's'; }};
  other = &second;
  bell.close();
  EXPECT_EQ(released, "f");
  EXPECT_EQ(first.unregister(), decoupled::by_hup);
}

TEST(notifier_contract, point_5_release_may_destroy_its_notifier) {
  eventfd bell;
  std::unique_ptr<notifier> watcher;
  watcher = std::make_unique<notifier>(bell, [](auto&) {}, [&watcher] { watcher.reset(); });
  int releases = 0;
  const notifier next{bell, [](auto&) {}, [&] { ++releases; }};
  bell.close();
  EXPECT_EQ(watcher, nullptr);
  EXPECT_EQ(releases, 1);
}

TEST(notifier_contract, point_5_a_callback_may_signal_another_eventfd) {
  const eventfd a;
  const eventfd watched;
  const eventfd alone;
  std::uint64_t seen = 0;
  const notifier on_watched{watched, [&](auto& ctx) { seen += ctx.drain(); }};
  const notifier on_a{a, [&](auto&) {
                        watched.signal(3);
                        alone.signal(4);
                        EXPECT_EQ(seen, 0U) << "a callback within a callback";
                      }};
  a.signal();
  EXPECT_EQ(seen, 3U);
  EXPECT_EQ(alone.read(), 4U);
}

// Oracle: each signal made inside counts, and calls, once.
TEST(notifier_contract, point_5_a_callback_may_signal_its_own_eventfd) {
  const eventfd bell;
  int calls = 0;
  const notifier watcher{bell, [&](auto& ctx) {
                           if (++calls <= 3) ctx.signal(10);
                         }};
  bell.signal();
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(bell.read(), 31U);
}

TEST(notifier_contract, point_5_signals_in_a_circle_are_exact_and_do_not_recurse) {
  constexpr int laps = 10'000;
  const eventfd a;
  const eventfd b;
  int calls = 0;
  int depth = 0;
  const notifier on_a{a, [&](auto&) {
                        EXPECT_EQ(++depth, 1);
                        b.signal();
                        --depth;
                      }};
  const notifier on_b{b, [&](auto&) {
                        EXPECT_EQ(++depth, 1);
                        if (++calls < laps) a.signal();
                        --depth;
                      }};
  a.signal();
  EXPECT_EQ(calls, laps);
  EXPECT_EQ(a.read(), static_cast<std::uint64_t>(laps));
  EXPECT_EQ(b.read(), static_cast<std::uint64_t>(laps));
}

// Oracle: by the time the signal is delivered, nobody else keeps its eventfd in memory. It is wide, or it would not wait.
TEST(notifier_contract, point_5_a_signal_made_inside_keeps_its_eventfd_in_memory) {
  const eventfd bell;
  eventfd wide;
  wide.signal(1ULL << 62);
  auto context = wide.context();
  wide.close();
  const notifier watcher{bell, [&](auto&) {
                           context->signal();
                           context.reset();
                         }};
  bell.signal();
  EXPECT_EQ(context, nullptr);
}

// Oracle: the drain's wake-up for those who wait for room comes when the eventfd's last holders have gone.
TEST(notifier_contract, point_5_a_drain_made_inside_keeps_its_eventfd_in_memory) {
  const eventfd outer;
  eventfd inner;
  std::uint64_t drained = 0;
  std::unique_ptr<notifier> on_inner;
  on_inner = std::make_unique<notifier>(inner, [&](auto& ctx) { drained += ctx.drain(); }, [&] { on_inner.reset(); });
  const notifier on_outer{outer, [&](auto&) {
                            inner.signal(3);
                            inner.close();
                          }};
  outer.signal();
  EXPECT_EQ(drained, 3U);
  EXPECT_EQ(on_inner, nullptr);
}

TEST(notifier_contract, point_5_a_callback_may_close_the_last_handle_of_any) {
  eventfd bell;
  eventfd other;
  std::string events;
  notifier on_other{other, [](auto&) {}, [&] { events += "other "; }};
  notifier watcher{bell,
                   [&](auto&) {
                     other.close();
                     bell.close();
                     events += "closed ";
                   },
                   [&] { events += "own "; }};
  const auto context = bell.context();
  context->signal();
  EXPECT_EQ(events, "closed other own ");
}

TEST(notifier_contract, point_6_a_blocking_read_in_a_callback_is_refused) {
  const eventfd bell;
  const eventfd other{5};
  std::error_code own;
  std::error_code others;
  std::error_code timed;
  const notifier watcher{bell, [&](auto&) {
                           bell.read(own);
                           other.read(others);
                           other.read_for(std::chrono::seconds{1}, timed);
                         }};
  bell.signal();
  EXPECT_EQ(own, would_deadlock);
  EXPECT_EQ(others, would_deadlock) << "though there is a count";
  EXPECT_EQ(timed, would_deadlock);
  EXPECT_EQ(bell.read(), 1U);
  EXPECT_EQ(other.read(), 5U);
}

TEST(notifier_contract, point_6_unregistering_from_another_eventfd_in_a_callback_is_refused) {
  const eventfd bell;
  const eventfd other;
  int calls = 0;
  notifier on_other{other, [&](auto&) { ++calls; }};
  std::error_code ec;
  std::error_code with_read;
  const notifier watcher{bell, [&](auto&) {
                           on_other.unregister(ec);
                           std::uint64_t count = 0;
                           on_other.unregister_and_read(count, with_read);
                         }};
  bell.signal();
  EXPECT_EQ(ec, would_deadlock);
  EXPECT_EQ(with_read, would_deadlock);
  other.signal();
  EXPECT_EQ(calls, 1) << "it stays registered";
  EXPECT_EQ(on_other.unregister(), decoupled::by_us);
}

TEST(notifier_contract, point_7_register_tells_of_a_count_that_is_there_and_does_not_call_for_it) {
  const eventfd bell;
  int calls = 0;
  notifier watcher{[&](auto&) { ++calls; }};
  EXPECT_FALSE(watcher.register_with(bell));
  watcher.unregister();
  bell.signal();
  EXPECT_TRUE(watcher.register_with(bell));
  EXPECT_EQ(calls, 0);
  bell.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier_contract, point_7_register_tells_of_a_count_beyond_61_bits) {
  const eventfd bell;
  bell.signal(1ULL << 62);
  notifier watcher{[](auto&) {}};
  EXPECT_TRUE(watcher.register_with(bell));
}

TEST(notifier_contract, point_8_exclusive_notifiers_take_turns) {
  const eventfd bell;
  std::string called;
  notifier x{[&](auto&) { called += 'x'; }};
  notifier y{[&](auto&) { called += 'y'; }};
  notifier z{[&](auto&) { called += 'z'; }};
  const notifier all{bell, [&](auto&) { called += '.'; }};
  for (auto* one : {&x, &y, &z}) one->register_with(bell, sharing::exclusive);
  for (int i = 0; i < 6; ++i) bell.signal();
  EXPECT_EQ(called, ".x.y.z.x.y.z");
}

TEST(notifier_contract, point_8_a_signal_is_for_one_of_the_exclusive_ones_that_are_left) {
  const eventfd bell;
  std::string called;
  notifier y{[&](auto&) { called += 'y'; }};
  notifier x{[&](auto&) {
    called += 'x';
    y.unregister();
  }};
  notifier z{[&](auto&) { called += 'z'; }};
  for (auto* one : {&x, &y, &z}) one->register_with(bell, sharing::exclusive);
  for (int i = 0; i < 3; ++i) bell.signal();
  EXPECT_EQ(called, "xzx");
}

}  // namespace
