// SPDX-License-Identifier: Apache-2.0
//
// Many registrations: threads share, create and destroy entries, handles and notifiers.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>

#include <doorbell/base/wait_queue.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "support/race.hpp"

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::eventfd_ctx_lock;
using doorbell::eventfd_ctx_ptr;
using doorbell::notifier;
using doorbell::test::budget;
using doorbell::test::race;
using doorbell::test::run_disturbed;
using doorbell::test::stagger;
using sharing = notifier::sharing;

// Oracle: an entry that attach() has accepted gets POLLHUP at the last close, once; a refused entry never does.
TEST(registration_stress, attach_against_the_last_close) {
  struct entry : doorbell::base::wait_entry {
    entry() : wait_entry{&on_wake} {}
    static int on_wake(wait_entry& woken, unsigned events) noexcept {
      auto& self = static_cast<entry&>(woken);
      if (!(events & POLLHUP)) return 0;
      ++self.hups;
      self.context->assert_held();
      self.context->detach(self);
      return 0;
    }
    eventfd_ctx_ptr context;
    int hups = 0;
  };
  eventfd efd;
  std::optional<entry> subject;
  bool attached = false;
  race(
      2, budget{50'000},
      [&] {
        efd = eventfd{};
        subject.emplace();
        subject->context = efd.context();
      },
      [&](std::size_t index) {
        if (index == 0) {
          const eventfd_ctx_lock held{*subject->context};
          attached = subject->context->attach(*subject);
        } else {
          efd.close();
        }
      },
      [&] {
        EXPECT_EQ(subject->hups, attached ? 1 : 0);
        EXPECT_FALSE(subject->linked());
        if (!attached) return;
        bool last = false;
        {
          const eventfd_ctx_lock held{*subject->context};
          last = subject->context->release_share();
        }
        EXPECT_TRUE(last);
        if (last) subject->context->put();
      });
}

// Oracle: release() runs once, after each closing thread has begun its close.
TEST(registration_stress, handles_copied_and_closed_from_many_threads) {
  constexpr std::size_t threads = 4;
  std::array<eventfd, threads> handles;
  std::atomic<std::size_t> closing{0};
  std::size_t releases = 0;
  std::size_t closing_by_then = 0;
  notifier watcher{[](auto&) {},
                   [&] {
                     ++releases;
                     closing_by_then = closing;
                   }};
  race(
      threads, budget{10'000},
      [&] {
        const eventfd efd;
        handles.fill(efd);
        closing = releases = closing_by_then = 0;
        watcher.register_with(efd);
      },
      [&](std::size_t index) {
        auto& own = handles.at(index);
        eventfd copy = own;
        own.signal();
        own = copy;
        copy.close();
        const eventfd another = std::move(own);
        ++closing;
      },
      [&] {
        EXPECT_EQ(releases, 1U);
        EXPECT_EQ(closing_by_then, threads);
        EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
      });
}

// Oracle: while at least one exclusive notifier is registered, each signal calls exactly one exclusive notifier,
// although others are registered and unregistered.
TEST(registration_stress, exclusive_notifiers_that_come_and_go_against_signals) {
  constexpr std::uint64_t each = 10;
  const eventfd efd;
  int calls = 0;
  const auto count = [&](auto&) { ++calls; };
  notifier steady{count};
  notifier first{count};
  notifier second{count};
  steady.register_with(efd, sharing::exclusive);
  race(
      4, budget{5'000}, [&] { calls = 0; },
      [&](std::size_t index) {
        if (index < 2) {
          for (std::uint64_t i = 0; i < each; ++i) efd.signal();
        } else {
          auto& restless = index == 2 ? first : second;
          for (std::uint64_t i = 0; i < each; ++i) {
            restless.register_with(efd, sharing::exclusive);
            restless.unregister();
          }
        }
      },
      [&] {
        EXPECT_EQ(calls, static_cast<int>(2 * each));
        EXPECT_EQ(efd.read(), 2 * each);
      });
}

// Oracle: a registration is ended by its owner or by a callback of its eventfd. If a callback of another eventfd ended
// it, the counts would differ (and its thread would have acquired a second lock while holding the first).
TEST(registration_stress, callbacks_end_registrations_on_their_own_eventfd_only) {
  const std::array<eventfd, 2> efds;
  std::array<std::uint64_t, 2> registered{};
  std::array<std::atomic<std::uint64_t>, 2> ended{};
  notifier subject{[](auto&) {}};
  const auto end_from = [&](std::size_t efd) {
    return [&, efd](auto&) {
      std::error_code refused;
      if (subject.unregister(refused) == decoupled::by_us) ++ended.at(efd);
    };
  };
  const notifier first{efds[0], end_from(0)};
  const notifier second{efds[1], end_from(1)};
  std::atomic<bool> over{false};
  run_disturbed(3, [&](std::size_t index) {
    stagger random{index};
    if (index < 2) {
      for (; !over; random()) efds.at(index).signal();
      return;
    }
    for (budget rounds{1'000'000}; rounds.next(); random()) {
      const auto efd = random.below(2);
      std::error_code in_a_callbacks_hands;
      subject.register_with(efds.at(efd), in_a_callbacks_hands);
      if (!in_a_callbacks_hands) ++registered.at(efd);
      random();
      if (subject.unregister() == decoupled::by_us) ++ended.at(efd);
    }
    over = true;
  });
  EXPECT_EQ(ended[0], registered[0]);
  EXPECT_EQ(ended[1], registered[1]);
}

/// A notifier that several threads register and unregister, and the counts of the results.
struct shared_notifier {
  std::atomic<int> registered{0};
  std::atomic<int> by_us{0};
  std::atomic<int> by_hup{0};
  std::atomic<int> releases{0};
  std::atomic<int> running{0};
  std::atomic<int> overlaps{0};
  notifier watcher{[this](auto&) { run_alone(); },
                   [this] {
                     ++releases;
                     run_alone();
                   }};

  void run_alone() {
    if (running.fetch_add(1) != 0) ++overlaps;
    running.fetch_sub(1);
  }
  void register_with(const eventfd& efd) {
    std::error_code ec;
    watcher.register_with(efd, ec);
    if (!ec) ++registered;
  }
  void unregister() {
    const auto winner = watcher.unregister();
    if (winner == decoupled::by_us) ++by_us;
    if (winner == decoupled::by_hup) ++by_hup;
  }
};

// Oracle: each registration ends once, each HUP that ends a registration calls release() once, and no two callbacks of
// one notifier run concurrently, while threads register and unregister the same notifiers on eventfds that other
// threads open, signal and close.
TEST(registration_stress, notifiers_shared_by_threads_on_eventfds_that_come_and_go) {
  constexpr std::size_t threads = 4;
  constexpr int steps = 1'000;
  std::array<shared_notifier, 3> notifiers;
  race(
      threads, budget{200}, [] {},
      [&](std::size_t index) {
        stagger random{index};
        eventfd efd;
        for (int i = 0; i < steps; ++i) {
          auto& one = notifiers.at(random.below(notifiers.size()));
          switch (random.below(5)) {
            case 0:
            case 1:
              one.register_with(efd);
              break;
            case 2:
              one.unregister();
              break;
            case 3:
              efd.signal();
              break;
            default:
              efd = eventfd{};
          }
        }
      },
      [&] {
        for (auto& one : notifiers) {
          one.unregister();
          EXPECT_EQ(one.by_us + one.by_hup, one.registered);
          EXPECT_EQ(one.releases, one.by_hup);
          EXPECT_EQ(one.overlaps, 0);
        }
      });
}

}  // namespace
