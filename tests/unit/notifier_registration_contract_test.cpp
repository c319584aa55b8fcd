// SPDX-License-Identifier: Apache-2.0
//
// The contract of wait queue and notifier (docs/architecture.md, Contracts), points 1 to 4: the end of a registration.
// Each test arranges one interleaving deterministically; the stress tests look for the others.
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>

#include <doorbell/eventfd.hpp>

#include "support/threads.hpp"

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::sleeper;

/// Unregisters in another thread.
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
  const eventfd efd;
  std::thread::id caller;
  const notifier watcher{efd, [&](auto&) { caller = std::this_thread::get_id(); }};
  std::thread::id signaller;
  std::jthread{[&] {
    signaller = std::this_thread::get_id();
    efd.signal();
  }}.join();
  EXPECT_EQ(caller, signaller);
}

// Oracle: unregister sleeps while the callback runs, and no callback runs after it has returned.
TEST(notifier_contract, point_1_unregister_waits_for_a_running_callback) {
  const eventfd efd;
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  int calls = 0;
  notifier watcher{efd, [&](auto&) {
                     ++calls;
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                   }};
  subject = &watcher;
  efd.signal();
  EXPECT_EQ(other->join(), decoupled::by_us);
  efd.signal();
  EXPECT_EQ(calls, 1);
}

// Oracle: an unregister that returns not_registered has also waited for the callback.
TEST(notifier_contract, point_1_each_of_two_unregisters_waits_for_a_running_callback) {
  const eventfd efd;
  std::optional<unregistering> first;
  std::optional<unregistering> second;
  notifier* subject = nullptr;
  notifier watcher{efd, [&](auto&) {
                     first.emplace(*subject);
                     EXPECT_TRUE(first->waits());
                     second.emplace(*subject);
                     EXPECT_TRUE(second->waits());
                   }};
  subject = &watcher;
  efd.signal();
  EXPECT_EQ(first->join(), decoupled::by_us);
  EXPECT_EQ(second->join(), decoupled::not_registered);
}

// Oracle: a callback cannot wait for an unregister that waits for it. So the callback removes its notifier itself, and
// is not called again.
TEST(notifier_contract, point_1_a_callback_takes_over_from_an_unregister_that_waits_for_it) {
  const eventfd efd;
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  int calls = 0;
  notifier watcher{efd, [&](auto& own) {
                     ++calls;
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                     EXPECT_EQ(subject->unregister(), decoupled::by_us);
                     EXPECT_EQ(subject->unregister(), decoupled::not_registered);
                     own.signal();
                   }};
  subject = &watcher;
  efd.signal();
  EXPECT_EQ(other->join(), decoupled::not_registered);
  EXPECT_EQ(calls, 1);
  watcher.register_with(efd);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

TEST(notifier_contract, point_1_an_unregister_that_waits_for_a_callback_ends_the_new_registration_of_the_callback) {
  const eventfd efd;
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  notifier watcher{efd, [&](auto&) {
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                     EXPECT_EQ(subject->unregister(), decoupled::by_us);
                     subject->register_with(efd);
                   }};
  subject = &watcher;
  efd.signal();
  EXPECT_EQ(other->join(), decoupled::by_us);
  EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
}

TEST(notifier_contract, point_1_the_destructor_waits_for_a_running_callback) {
  const eventfd efd;
  sleeper destroyer;
  std::atomic<bool> destroyed{false};
  std::jthread destroying;
  auto watcher = std::make_unique<notifier>([](auto&) {});
  const notifier first{efd, [&](auto&) {
                         destroying = std::jthread{[&] {
                           destroyer.here();
                           watcher.reset();
                           destroyed = true;
                         }};
                         EXPECT_TRUE(destroyer.wait_until_asleep());
                         EXPECT_FALSE(destroyed);
                       }};
  watcher->register_with(efd);
  efd.signal();
  destroying.join();
  EXPECT_TRUE(destroyed);
}

// Oracle: unregister waits for the callback also if the notifier is no longer registered.
TEST(notifier_contract, point_1_unregister_waits_for_a_callback_that_has_unregistered_itself) {
  const eventfd efd;
  std::optional<unregistering> other;
  std::optional<unregistering> third;
  notifier* subject = nullptr;
  notifier watcher{efd, [&](auto&) {
                     EXPECT_EQ(subject->unregister(), decoupled::by_us);
                     EXPECT_EQ(subject->unregister(), decoupled::not_registered);
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                     third.emplace(*subject);
                     EXPECT_TRUE(third->waits());
                   }};
  subject = &watcher;
  efd.signal();
  EXPECT_EQ(third->join(), decoupled::not_registered);
  EXPECT_EQ(other->join(), decoupled::not_registered);
  watcher.register_with(efd);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

// Oracle: unregister waits also after the callback has tried registrations that were refused.
TEST(notifier_contract, point_1_unregister_waits_for_a_callback_whose_registration_elsewhere_was_refused) {
  const eventfd efd;
  const eventfd elsewhere;
  eventfd closed;
  closed.close();
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  notifier watcher{efd, [&](auto&) {
                     EXPECT_EQ(subject->unregister(), decoupled::by_us);
                     std::error_code ec;
                     subject->register_with(elsewhere, ec);
                     EXPECT_EQ(ec, std::errc::resource_deadlock_would_occur);
                     subject->register_with(closed, ec);
                     EXPECT_EQ(ec, std::errc::bad_file_descriptor);
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                   }};
  subject = &watcher;
  efd.signal();
  EXPECT_EQ(other->join(), decoupled::not_registered);
}

TEST(notifier_contract, point_1_unregister_waits_for_a_release_that_has_unregistered_its_notifier) {
  eventfd efd;
  std::optional<unregistering> other;
  notifier* subject = nullptr;
  notifier watcher{efd, [](auto&) {},
                   [&] {
                     EXPECT_EQ(subject->unregister(), decoupled::by_hup);
                     other.emplace(*subject);
                     EXPECT_TRUE(other->waits());
                   }};
  subject = &watcher;
  efd.close();
  EXPECT_EQ(other->join(), decoupled::not_registered);
  const eventfd another;
  watcher.register_with(another);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

TEST(notifier_contract, point_1_the_destructor_waits_for_a_callback_that_has_unregistered_itself) {
  const eventfd efd;
  sleeper destroyer;
  std::atomic<bool> destroyed{false};
  std::jthread destroying;
  std::unique_ptr<notifier> watcher;
  watcher = std::make_unique<notifier>(efd, [&](auto&) {
    watcher->unregister();
    destroying = std::jthread{[&] {
      destroyer.here();
      watcher.reset();
      destroyed = true;
    }};
    EXPECT_TRUE(destroyer.wait_until_asleep());
    EXPECT_FALSE(destroyed);
  });
  efd.signal();
  destroying.join();
  EXPECT_TRUE(destroyed);
}

TEST(notifier_contract, point_1_registering_elsewhere_waits_for_a_callback_that_has_unregistered_itself) {
  const eventfd efd;
  const eventfd another;
  sleeper registrar;
  std::atomic<bool> registered{false};
  std::jthread registering;
  notifier* subject = nullptr;
  notifier watcher{efd, [&](auto&) {
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
  efd.signal();
  registering.join();
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

TEST(notifier_contract, point_2_after_unregister_hup_has_no_effect) {
  eventfd efd;
  int releases = 0;
  notifier watcher{efd, [](auto&) {}, [&] { ++releases; }};
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  efd.close();
  EXPECT_EQ(releases, 0);
}

TEST(notifier_contract, point_2_after_hup_unregister_has_no_effect) {
  eventfd efd;
  int calls = 0;
  int releases = 0;
  notifier watcher{efd, [&](auto&) { ++calls; }, [&] { ++releases; }};
  const auto context = efd.context();
  efd.close();
  EXPECT_EQ(releases, 1);
  context->signal();
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
  EXPECT_EQ(releases, 1);
  EXPECT_EQ(calls, 0);
}

TEST(notifier_contract, point_2_a_registration_is_active_before_any_walk) {
  const eventfd efd;
  int calls = 0;
  notifier second{[&](auto&) { ++calls; }};
  const notifier first{efd, [&](auto&) {
                         std::error_code ec;
                         second.register_with(efd, ec);
                       }};
  efd.signal();
  efd.signal();
  EXPECT_GE(calls, 1);
}

TEST(notifier_contract, point_3_unregister_reports_that_it_ended_the_registration) {
  const eventfd efd;
  notifier watcher{efd, [](auto&) {}};
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
}

TEST(notifier_contract, point_3_unregister_reports_that_hup_ended_the_registration) {
  eventfd efd;
  notifier watcher{efd, [](auto&) {}};
  efd.close();
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
  EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
}

TEST(notifier_contract, point_3_unregister_reports_that_there_was_no_registration) {
  notifier watcher{[](auto&) {}};
  EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
}

// Oracle: an unregister that loses against a HUP returns after release() has returned, and not while it runs.
TEST(notifier_contract, point_3_by_hup_means_that_release_has_returned) {
  eventfd efd;
  std::optional<unregistering> loser;
  notifier* subject = nullptr;
  notifier watcher{efd, [](auto&) {},
                   [&] {
                     loser.emplace(*subject);
                     EXPECT_TRUE(loser->waits());
                   }};
  subject = &watcher;
  efd.close();
  EXPECT_EQ(loser->join(), decoupled::by_hup);
}

// If this is broken, AddressSanitizer reports an unlock of a lock in freed memory.
TEST(notifier_contract, point_4_the_last_reference_is_dropped_after_the_lock_is_released) {
  {
    eventfd efd;
    notifier watcher{efd, [](auto&) {}};
    efd.close();
    EXPECT_EQ(watcher.unregister(), decoupled::by_hup) << "the notifier has the last reference";
  }
  {
    eventfd efd;
    notifier watcher{efd, [](auto&) {}};
    EXPECT_EQ(watcher.unregister(), decoupled::by_us);
    efd.close();  // the closing handle has the last reference
  }
  {
    eventfd efd;
    notifier* subject = nullptr;
    notifier watcher{efd, [](auto&) {}, [&] { EXPECT_EQ(subject->unregister(), decoupled::by_hup); }};
    subject = &watcher;
    efd.close();  // the closing handle has it again: the notifier dropped its reference during the walk
  }
}

}  // namespace
