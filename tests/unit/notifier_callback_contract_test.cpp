// SPDX-License-Identifier: Apache-2.0
//
// The contract of wait queue and notifier (docs/architecture.md, Contracts), points 5 to 8: the calls that a callback
// may make, and the entries that a signal wakes.
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <doorbell/eventfd.hpp>

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::notifier;
using sharing = notifier::sharing;

constexpr auto would_deadlock = std::errc::resource_deadlock_would_occur;

// Oracle: a notifier that has unregistered itself can be registered again, unregistered and destroyed, without an
// error.
TEST(notifier_contract, point_5_a_notifier_that_unregistered_itself_can_be_used_again) {
  eventfd efd;
  const eventfd another;
  notifier* subject = nullptr;
  bool again = true;
  int calls = 0;
  auto watcher = std::make_unique<notifier>(efd, [&](auto&) {
    ++calls;
    subject->unregister();
    if (again) subject->register_with(efd);
  });
  subject = watcher.get();
  efd.signal();
  efd.signal();
  again = false;
  efd.signal();
  efd.signal();
  EXPECT_EQ(calls, 3);
  const notifier other{another, [&](auto&) {
                         std::error_code ec;
                         EXPECT_EQ(watcher->unregister(ec), decoupled::not_registered);
                         EXPECT_FALSE(ec);
                         watcher.reset();
                       }};
  efd.close();
  another.signal();
  EXPECT_EQ(watcher, nullptr);
}

TEST(notifier_contract, point_5_a_callback_may_unregister_its_own_notifier) {
  const eventfd efd;
  int calls = 0;
  notifier* subject = nullptr;
  notifier watcher{efd, [&](auto&) {
                     ++calls;
                     EXPECT_EQ(subject->unregister(), decoupled::by_us);
                   }};
  subject = &watcher;
  efd.signal();
  efd.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier_contract, point_5_a_callback_may_unregister_any_other_on_the_same_eventfd) {
  const eventfd efd;
  std::string called;
  std::vector<notifier*> others;
  notifier before{efd, [&](auto&) { called += 'b'; }};
  const notifier watcher{efd, [&](auto&) {
                           called += 'w';
                           for (auto* other : others) other->unregister();
                         }};
  notifier next{efd, [&](auto&) { called += 'n'; }};
  notifier last{efd, [&](auto&) { called += 'l'; }};
  others = {&before, &next, &last};
  efd.signal();
  EXPECT_EQ(called, "bw");
  efd.signal();
  EXPECT_EQ(called, "bww");
}

TEST(notifier_contract, point_5_release_may_unregister_the_others) {
  eventfd efd;
  std::string released;
  notifier* other = nullptr;
  notifier first{efd, [](auto&) {},
                 [&] {
                   released += 'f';
                   EXPECT_EQ(other->unregister(), decoupled::by_us);
                 }};
  notifier second{efd, [](auto&) {}, [&] { released += 's'; }};
  other = &second;
  efd.close();
  EXPECT_EQ(released, "f");
  EXPECT_EQ(first.unregister(), decoupled::by_hup);
}

TEST(notifier_contract, point_5_release_may_destroy_its_notifier) {
  eventfd efd;
  std::unique_ptr<notifier> watcher;
  watcher = std::make_unique<notifier>(efd, [](auto&) {}, [&watcher] { watcher.reset(); });
  int releases = 0;
  const notifier next{efd, [](auto&) {}, [&] { ++releases; }};
  efd.close();
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
                        EXPECT_EQ(seen, 0U) << "the callback ran inside another callback";
                      }};
  a.signal();
  EXPECT_EQ(seen, 3U);
  EXPECT_EQ(alone.read(), 4U);
}

// Oracle: each signal made in the callback is counted once, and calls the callback once.
TEST(notifier_contract, point_5_a_callback_may_signal_its_own_eventfd) {
  const eventfd efd;
  int calls = 0;
  const notifier watcher{efd, [&](auto& ctx) {
                           if (++calls <= 3) ctx.signal(10);
                         }};
  efd.signal();
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(efd.read(), 31U);
}

TEST(notifier_contract, point_5_signals_in_a_cycle_are_exact_and_do_not_recurse) {
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

// When the signal is delivered, no other reference keeps its eventfd in memory. The count is larger than the word
// holds, because the signal would otherwise not be deferred. Oracle: AddressSanitizer finds no access to freed memory.
TEST(notifier_contract, point_5_a_signal_made_in_a_callback_keeps_its_eventfd_in_memory) {
  const eventfd efd;
  eventfd wide;
  wide.signal(1ULL << 62);
  auto context = wide.context();
  wide.close();
  const notifier watcher{efd, [&](auto&) {
                           context->signal();
                           context.reset();
                         }};
  efd.signal();
  EXPECT_EQ(context, nullptr);
}

// The drain announces room (POLLOUT), by a walk after the last holders of the eventfd have gone. Oracle: the callbacks
// of the eventfd still run, and its memory is freed only after that walk.
TEST(notifier_contract, point_5_a_drain_made_in_a_callback_keeps_its_eventfd_in_memory) {
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

TEST(notifier_contract, point_5_a_callback_may_close_the_last_handle_of_any_eventfd) {
  eventfd efd;
  eventfd other;
  std::string events;
  notifier on_other{other, [](auto&) {}, [&] { events += "other "; }};
  notifier watcher{efd,
                   [&](auto&) {
                     other.close();
                     efd.close();
                     events += "closed ";
                   },
                   [&] { events += "own "; }};
  const auto context = efd.context();
  context->signal();
  EXPECT_EQ(events, "closed other own ");
}

TEST(notifier_contract, point_6_a_blocking_read_in_a_callback_is_refused) {
  const eventfd efd;
  const eventfd other{5};
  std::error_code own;
  std::error_code others;
  std::error_code timed;
  const notifier watcher{efd, [&](auto&) {
                           efd.read(own);
                           other.read(others);
                           other.read_for(std::chrono::seconds{1}, timed);
                         }};
  efd.signal();
  EXPECT_EQ(own, would_deadlock);
  EXPECT_EQ(others, would_deadlock) << "although there is a count";
  EXPECT_EQ(timed, would_deadlock);
  EXPECT_EQ(efd.read(), 1U);
  EXPECT_EQ(other.read(), 5U);
}

TEST(notifier_contract, point_6_unregistering_from_another_eventfd_in_a_callback_is_refused) {
  const eventfd efd;
  const eventfd other;
  int calls = 0;
  notifier on_other{other, [&](auto&) { ++calls; }};
  std::error_code ec;
  std::error_code with_read;
  const notifier watcher{efd, [&](auto&) {
                           on_other.unregister(ec);
                           std::uint64_t count = 0;
                           on_other.unregister_and_read(count, with_read);
                         }};
  efd.signal();
  EXPECT_EQ(ec, would_deadlock);
  EXPECT_EQ(with_read, would_deadlock);
  other.signal();
  EXPECT_EQ(calls, 1) << "the notifier must still be registered";
  EXPECT_EQ(on_other.unregister(), decoupled::by_us);
}

TEST(notifier_contract, point_7_register_reports_a_present_count_and_does_not_call_for_it) {
  const eventfd efd;
  int calls = 0;
  notifier watcher{[&](auto&) { ++calls; }};
  EXPECT_FALSE(watcher.register_with(efd));
  watcher.unregister();
  efd.signal();
  EXPECT_TRUE(watcher.register_with(efd));
  EXPECT_EQ(calls, 0);
  efd.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier_contract, point_7_register_reports_a_count_beyond_49_bits) {
  const eventfd efd;
  efd.signal(1ULL << 62);
  notifier watcher{[](auto&) {}};
  EXPECT_TRUE(watcher.register_with(efd));
}

TEST(notifier_contract, point_8_exclusive_notifiers_take_turns) {
  const eventfd efd;
  std::string called;
  notifier x{[&](auto&) { called += 'x'; }};
  notifier y{[&](auto&) { called += 'y'; }};
  notifier z{[&](auto&) { called += 'z'; }};
  const notifier all{efd, [&](auto&) { called += '.'; }};
  for (auto* one : {&x, &y, &z}) one->register_with(efd, sharing::exclusive);
  for (int i = 0; i < 6; ++i) efd.signal();
  EXPECT_EQ(called, ".x.y.z.x.y.z");
}

TEST(notifier_contract, point_8_a_signal_calls_one_of_the_remaining_exclusive_notifiers) {
  const eventfd efd;
  std::string called;
  notifier y{[&](auto&) { called += 'y'; }};
  notifier x{[&](auto&) {
    called += 'x';
    y.unregister();
  }};
  notifier z{[&](auto&) { called += 'z'; }};
  for (auto* one : {&x, &y, &z}) one->register_with(efd, sharing::exclusive);
  for (int i = 0; i < 3; ++i) efd.signal();
  EXPECT_EQ(called, "xzx");
}

}  // namespace
