// SPDX-License-Identifier: Apache-2.0
//
// One notifier's registration, concurrently with signals, other unregisters and the last close.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>

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
using doorbell::test::stagger;
using sharing = notifier::sharing;

/// An eventfd with one handle, and a notifier on it that records its calls. Only the contract orders accesses to the
/// plain members: ThreadSanitizer reports a race if the contract is broken.
struct watched {
  eventfd efd;
  eventfd_ctx_ptr context = efd.context();
  int calls = 0;
  int releases = 0;
  bool release_ended = false;
  bool poisoned = false;  // unregister has returned: no callback may run any more
  int runs_when_poisoned = 0;
  notifier watcher{efd,
                   [this](auto&) {
                     ++calls;
                     runs_when_poisoned += poisoned ? 1 : 0;
                   },
                   [this] {
                     ++releases;
                     runs_when_poisoned += poisoned ? 1 : 0;
                     release_ended = true;
                   }};
};

// Oracle: exactly one of unregister and the last close ends the registration. by_us: release() has not run and never
// runs. by_hup: release() has run once, and has returned. No callback runs after unregister. No memory leaks or is used
// after it was freed (checked by the sanitizers).
TEST(registration_stress, unregister_against_the_last_close_and_signals) {
  std::optional<watched> subject;
  auto winner = decoupled::not_registered;
  bool ended_by_then = false;
  race(
      3, budget{20'000}, [&] { subject.emplace(); },
      [&](std::size_t index) {
        if (index == 0) {
          winner = subject->watcher.unregister();
          ended_by_then = subject->release_ended;
          subject->poisoned = true;
        } else if (index == 1) {
          subject->efd.close();
        } else {
          subject->context->signal();
        }
      },
      [&] {
        EXPECT_NE(winner, decoupled::not_registered);
        EXPECT_EQ(subject->releases, winner == decoupled::by_hup ? 1 : 0);
        EXPECT_EQ(ended_by_then, winner == decoupled::by_hup);
        EXPECT_EQ(subject->runs_when_poisoned, 0);
      });
}

// Oracle: as above. Only the notifier's reference keeps the memory alive, so the closer or the unregister frees it.
TEST(registration_stress, unregister_against_the_last_close_with_no_other_reference) {
  std::optional<watched> subject;
  auto winner = decoupled::not_registered;
  race(
      2, budget{30'000},
      [&] {
        subject.emplace();
        subject->context.reset();
      },
      [&](std::size_t index) {
        if (index == 0)
          winner = subject->watcher.unregister();
        else
          subject->efd.close();
      },
      [&] {
        EXPECT_NE(winner, decoupled::not_registered);
        EXPECT_EQ(subject->releases, winner == decoupled::by_hup ? 1 : 0);
      });
}

// Oracle: exactly one of the unregisters returns that it ended the registration.
TEST(registration_stress, many_unregisters_against_the_last_close) {
  constexpr std::size_t threads = 4;
  std::optional<watched> subject;
  std::array<decoupled, threads> answers{};
  race(
      threads, budget{10'000},
      [&] {
        subject.emplace();
        answers.fill(decoupled::not_registered);
      },
      [&](std::size_t index) {
        if (index == 0)
          subject->efd.close();
        else
          answers.at(index) = subject->watcher.unregister();
      },
      [&] {
        const auto by_us = std::ranges::count(answers, decoupled::by_us);
        const auto by_hup = std::ranges::count(answers, decoupled::by_hup);
        EXPECT_EQ(by_us + by_hup, 1);
        EXPECT_EQ(subject->releases, by_hup);
      });
}

// Oracle: each unregister returns only when no callback runs any more, whether this unregister, another one, or the
// callback itself has ended the registration. No callback uses an object that the caller may reuse by then.
TEST(registration_stress, many_unregisters_against_a_callback_that_may_be_faster) {
  constexpr std::size_t threads = 4;
  struct shared {
    explicit shared(bool leaves)
        : watcher{[this, leaves](auto&) {
            if (leaves) own_answer = watcher.unregister();
            late += std::ranges::count(got_back, true);
          }} {
      watcher.register_with(efd);
    }

    eventfd efd;
    decoupled own_answer = decoupled::not_registered;
    std::array<bool, threads> got_back{};  // each element belongs to one thread
    std::ptrdiff_t late = 0;
    notifier watcher;
  };
  std::optional<shared> subject;
  std::array<decoupled, threads> answers{};
  bool leaves = false;
  race(
      threads, budget{20'000},
      [&] {
        leaves = !leaves;
        subject.emplace(leaves);
        answers.fill(decoupled::not_registered);
      },
      [&](std::size_t index) {
        if (index == 0) {
          subject->efd.signal();
          return;
        }
        answers.at(index) = subject->watcher.unregister();
        subject->got_back.at(index) = true;
      },
      [&] {
        EXPECT_EQ(std::ranges::count(answers, decoupled::by_us) + (subject->own_answer == decoupled::by_us ? 1 : 0), 1);
        EXPECT_EQ(subject->late, 0);
      });
}

// Oracle: the destructor unregisters: no callback runs in a destroyed notifier.
TEST(registration_stress, destruction_against_the_last_close_and_signals) {
  struct alone {
    explicit alone(const eventfd& efd) : watcher{efd, [this](auto&) { ++runs; }, [this] { ++runs; }} {}
    int runs = 0;
    notifier watcher;
  };
  eventfd efd;
  eventfd_ctx_ptr context;
  std::unique_ptr<alone> subject;
  race(
      3, budget{20'000},
      [&] {
        efd = eventfd{};
        context = efd.context();
        subject = std::make_unique<alone>(efd);
      },
      [&](std::size_t index) {
        if (index == 0)
          subject.reset();
        else if (index == 1)
          efd.close();
        else
          context->signal();
      },
      [] {});
}

// Oracle: exactly one of these holds for a signal: it is in the result of register_with(), or it calls the callback.
TEST(registration_stress, register_against_a_signal) {
  eventfd efd;
  int calls = 0;
  bool ready = false;
  notifier watcher{[&](auto&) { ++calls; }};
  int round = 0;
  race(
      2, budget{50'000},
      [&] {
        efd = eventfd{};
        calls = 0;
        ++round;
      },
      [&](std::size_t index) {
        if (index == 0)
          ready = watcher.register_with(efd, round % 2 == 0 ? sharing::every : sharing::exclusive);
        else
          efd.signal();
      },
      [&] {
        EXPECT_EQ((ready ? 1 : 0) + calls, 1);
        EXPECT_EQ(efd.read(), 1U);
        EXPECT_EQ(watcher.unregister(), decoupled::by_us);
      });
}

// Oracle: unregister_and_read takes exactly the counts of the signals that have called the callback, and leaves the
// others: it takes no signal that did not call, and leaves none that did.
TEST(registration_stress, unregister_and_read_against_signals) {
  constexpr std::uint64_t each = 3;
  eventfd efd;
  std::uint64_t calls = 0;
  std::uint64_t taken = 0;
  notifier watcher{[&](auto&) { ++calls; }};
  race(
      3, budget{20'000},
      [&] {
        efd = eventfd(0, EFD_NONBLOCK);
        calls = taken = 0;
        watcher.register_with(efd);
      },
      [&](std::size_t index) {
        std::error_code ec;
        if (index == 0)
          watcher.unregister_and_read(taken, ec);
        else
          for (std::uint64_t i = 0; i < each; ++i) efd.signal();
      },
      [&] {
        std::error_code ec;
        EXPECT_EQ(taken, calls);
        EXPECT_EQ(taken + efd.read(ec), 2 * each);
      });
}

// Oracle: signals between the last unregister and the registration make register_with return `ready`. Each signal after
// the registration calls the callback. There are no other signals.
TEST(registration_stress, register_and_unregister_and_read_amid_signals) {
  const eventfd efd;
  std::uint64_t calls = 0;
  notifier watcher{[&](auto&) { ++calls; }};
  std::atomic<bool> ended{false};
  run_disturbed(2, [&](std::size_t index) {
    stagger random{index};
    if (index == 0) {
      for (budget rounds{1'000'000}; rounds.next(); random()) {
        calls = 0;
        const bool ready = watcher.register_with(efd, random.below(2) == 0 ? sharing::every : sharing::exclusive);
        random();
        std::uint64_t taken = 0;
        std::error_code ec;
        EXPECT_EQ(watcher.unregister_and_read(taken, ec), decoupled::by_us);
        EXPECT_GE(taken, calls) << "a signal called the callback and was not counted";
        EXPECT_EQ(taken > calls, ready) << taken << " counted, " << calls << " calls";
      }
      ended = true;
    } else {
      for (; !ended; random()) efd.signal();
    }
  });
}

}  // namespace
