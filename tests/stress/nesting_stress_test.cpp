// SPDX-License-Identifier: Apache-2.0
//
// Signals, closes and drops of last references in callbacks, in several concurrent threads.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "support/race.hpp"

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::eventfd_ctx_ptr;
using doorbell::notifier;
using doorbell::test::budget;
using doorbell::test::race;
using doorbell::test::run_disturbed;

// Oracle: no deadlock. Each signal from outside the callbacks is relayed the expected number of times, and each
// eventfd's count is the number of its callbacks.
TEST(nesting_stress, signals_in_a_circle_from_two_threads) {
  constexpr int relays = 3;
  static thread_local int left = 0;
  const eventfd a;
  const eventfd b;
  std::uint64_t calls_of_a = 0;
  std::uint64_t calls_of_b = 0;
  const notifier on_a{a, [&](auto&) {
                        ++calls_of_a;
                        if (left-- > 0) b.signal();
                      }};
  const notifier on_b{b, [&](auto&) {
                        ++calls_of_b;
                        if (left-- > 0) a.signal();
                      }};
  std::array<std::uint64_t, 2> kicks{};
  run_disturbed(2, [&](std::size_t index) {
    for (budget rounds{300'000}; rounds.next(); ++kicks.at(index)) {
      left = relays;
      (index == 0 ? a : b).signal();
    }
  });
  EXPECT_EQ(calls_of_a + calls_of_b, (kicks[0] + kicks[1]) * (1 + relays));
  EXPECT_EQ(a.read(), calls_of_a);
  EXPECT_EQ(b.read(), calls_of_b);
}

// Oracle: a signal made in a callback arrives, or its eventfd was closed before. In both cases the eventfd's memory
// exists (checked by ASan).
TEST(nesting_stress, a_signal_in_a_callback_against_the_last_close_of_its_target) {
  const eventfd outer;
  std::optional<eventfd> inner;
  eventfd_ctx_ptr context;
  std::optional<notifier> on_inner;
  const notifier on_outer{outer, [&](auto&) {
                            if (const auto reference = std::exchange(context, {})) reference->signal();
                          }};
  int calls = 0;
  int releases = 0;
  decoupled winner{};
  race(
      2, budget{20'000},
      [&] {
        inner.emplace();
        context = inner->context();
        calls = releases = 0;
        on_inner.emplace(*inner, [&](auto&) { ++calls; }, [&] { ++releases; });
      },
      [&](std::size_t index) {
        if (index == 0) {
          outer.signal();
        } else {
          inner->close();
          winner = on_inner->unregister();
        }
      },
      [&] {
        EXPECT_LE(calls, 1);
        EXPECT_EQ(releases, 1);
        EXPECT_EQ(winner, decoupled::by_hup);
      });
}

// Oracle: if a callback closes the last handle of another eventfd concurrently with an unregister from that eventfd,
// exactly one of the two ends the registration.
TEST(nesting_stress, a_last_close_in_a_callback_against_unregister) {
  const eventfd outer;
  eventfd inner;
  std::optional<notifier> on_inner;
  const notifier on_outer{outer, [&](auto&) { inner.close(); }};
  int releases = 0;
  decoupled winner{};
  race(
      2, budget{20'000},
      [&] {
        inner = eventfd{};
        releases = 0;
        on_inner.emplace(inner, [](auto&) {}, [&] { ++releases; });
      },
      [&](std::size_t index) {
        if (index == 0)
          outer.signal();
        else
          winner = on_inner->unregister();
      },
      [&] {
        EXPECT_NE(winner, decoupled::not_registered);
        EXPECT_EQ(releases, winner == decoupled::by_hup ? 1 : 0);
      });
}

}  // namespace
