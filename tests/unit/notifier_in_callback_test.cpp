// SPDX-License-Identifier: Apache-2.0
//
// Calls that callbacks make: on their own notifier, on others, and on eventfds.
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <system_error>

#include <doorbell/eventfd.hpp>

#include "support/asleep.hpp"

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::eventfd_ctx;
using doorbell::notifier;
using doorbell::test::asleep;

TEST(notifier, registering_on_another_eventfd_in_a_callback_is_refused) {
  const eventfd efd;
  const eventfd other;
  notifier second{[](auto&) {}};
  std::error_code ec;
  const notifier watcher{efd, [&](auto&) { second.register_with(other, ec); }};
  efd.signal();
  EXPECT_EQ(ec, std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(second.unregister(), decoupled::not_registered);
}

TEST(notifier, registering_on_the_same_eventfd_in_a_callback_succeeds) {
  const eventfd efd;
  int calls = 0;
  bool ready = false;
  notifier second{[&](auto&) { ++calls; }};
  notifier* self = nullptr;
  notifier watcher{efd, [&](auto&) {
                     ready = second.register_with(efd);
                     self->unregister();
                   }};
  self = &watcher;
  efd.signal();
  EXPECT_TRUE(ready);
  EXPECT_EQ(calls, 0) << "the signal came before the registration";
  efd.signal();
  EXPECT_EQ(calls, 1);
}

// Oracle: the result of register_with() and the calls together report each signal exactly once.
TEST(notifier, registered_in_a_callback_is_not_called_for_the_signal_of_that_callback) {
  const eventfd efd;
  int calls = 0;
  bool ready = false;
  notifier late{[&](auto&) { ++calls; }};
  const notifier first{efd, [&](auto&) {
                         std::error_code ec;
                         if (late.register_with(efd, ec)) ready = true;
                       }};
  const notifier last{efd, [](auto&) {}};
  efd.signal();
  EXPECT_TRUE(ready);
  EXPECT_EQ(calls, 0);
  efd.signal();
  EXPECT_EQ(calls, 1);
  late.unregister();
}

TEST(notifier, registered_in_a_callback_is_called_for_the_write_of_a_later_callback) {
  const eventfd efd;
  int calls = 0;
  int rounds = 0;
  notifier late{[&](auto&) { ++calls; }};
  const notifier first{efd, [&](auto&) {
                         std::error_code ec;
                         late.register_with(efd, ec);
                       }};
  const notifier second{efd, [&](auto&) {
                          if (++rounds == 1) efd.write(1);
                        }};
  efd.signal();
  EXPECT_EQ(rounds, 2);
  EXPECT_EQ(calls, 1);
  late.unregister();
}

TEST(notifier, two_that_register_themselves_again_are_called_once_per_signal) {
  const eventfd efd;
  int calls = 0;
  notifier* first = nullptr;
  notifier* second = nullptr;
  const auto again_by = [&](notifier*& self) {
    return [&](auto&) {
      ++calls;
      self->unregister();
      self->register_with(efd);
    };
  };
  notifier one{efd, again_by(first)};
  notifier other{efd, again_by(second)};
  first = &one;
  second = &other;
  efd.signal();
  EXPECT_EQ(calls, 2);
  efd.signal();
  EXPECT_EQ(calls, 4);
}

TEST(notifier, ended_by_release_can_be_destroyed_in_a_callback_of_another_eventfd) {
  eventfd gone;
  const eventfd here;
  const eventfd other;
  std::optional<notifier> moved;
  moved.emplace(gone, [](auto&) {}, [] {});
  gone.close();
  EXPECT_EQ(moved->unregister(), decoupled::by_hup);
  auto ended = decoupled::not_registered;
  {
    const notifier mover{here, [&](auto&) {
                           moved->register_with(here);
                           ended = moved->unregister();
                         }};
    here.signal();
  }
  EXPECT_EQ(ended, decoupled::by_us);
  const notifier destroyer{other, [&](auto&) { moved.reset(); }};
  other.signal();
  EXPECT_FALSE(moved);
}

TEST(notifier, a_callback_may_destroy_another_notifier_of_the_same_eventfd) {
  const eventfd efd;
  int calls = 0;
  std::optional<notifier> other;
  const notifier first{efd, [&](auto&) { other.reset(); }};
  other.emplace(efd, [&](auto&) { ++calls; });
  efd.signal();
  EXPECT_EQ(calls, 0);
}

void destroy_in_own_callback() {
  const eventfd efd;
  std::optional<notifier> watcher;
  watcher.emplace(efd, [&](auto&) { watcher.reset(); });
  efd.signal();
}

void destroy_in_callback_of_another() {
  const eventfd efd;
  const eventfd other;
  std::optional<notifier> watcher;
  watcher.emplace(efd, [](auto&) {});
  const notifier destroyer{other, [&](auto&) { watcher.reset(); }};
  other.signal();
}

TEST(notifier_death_test, destroyed_in_a_callback_names_the_broken_rule) {
  EXPECT_DEATH(destroy_in_own_callback(),
               "doorbell: a notifier was destroyed in its own signal callback .*docs/eventfd.md");
  EXPECT_DEATH(destroy_in_callback_of_another(),
               "doorbell: a notifier was destroyed in a callback of another eventfd .*docs/eventfd.md");
}

TEST(notifier, a_callback_may_read_a_nonblocking_eventfd) {
  const eventfd efd(0, EFD_NONBLOCK);
  std::uint64_t first = 0;
  std::error_code second;
  const notifier watcher{efd, [&](auto&) {
                           first = efd.read();
                           efd.read(second);
                         }};
  efd.signal(5);
  EXPECT_EQ(first, 5U);
  EXPECT_EQ(second, std::errc::resource_unavailable_try_again);
}

TEST(notifier, a_callback_may_drain_its_own_eventfd_and_no_other) {
  const eventfd efd;
  const eventfd other{3};
  std::uint64_t own = 0;
  std::error_code ec;
  const notifier watcher{efd, [&](auto& ctx) {
                           own += ctx.drain();
                           other.context()->drain(ec);
                         }};
  efd.signal(5);
  EXPECT_EQ(own, 5U);
  EXPECT_EQ(efd.info().count, 0U);
  EXPECT_EQ(ec, std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(other.read(), 3U);
}

TEST(notifier, a_callback_sees_the_count_and_the_poll_events) {
  const eventfd efd{2};
  std::uint64_t count = 0;
  unsigned events = 0;
  const notifier watcher{efd, [&](auto& ctx) {
                           count = ctx.info().count;
                           events = ctx.poll();
                         }};
  efd.signal(3);
  EXPECT_EQ(count, 5U);
  EXPECT_EQ(events, static_cast<unsigned>(POLLIN | POLLOUT));
}

TEST(notifier, a_callback_that_drains_makes_room_for_a_sleeping_writer) {
  const eventfd efd;
  efd.write(eventfd::max);
  asleep writer{[&] { efd.write(7); }};
  std::uint64_t drained = 0;
  notifier watcher{efd, [&](auto& ctx) { drained += ctx.drain() % eventfd::max; }};
  efd.signal();
  writer.join();
  watcher.unregister();
  EXPECT_EQ(drained + efd.context()->drain(), 1U + 7U);
}

TEST(notifier, a_callback_may_write_if_the_write_does_not_sleep) {
  const eventfd efd;
  int calls = 0;
  std::error_code fits;
  std::error_code full;
  const notifier watcher{efd, [&](auto&) {
                           if (++calls > 1) return;
                           efd.write(2, fits);
                           efd.write(eventfd::max, full);
                         }};
  efd.signal();
  EXPECT_FALSE(fits);
  EXPECT_EQ(full, std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(efd.read(), 3U);
}

TEST(notifier, a_write_without_room_to_a_nonblocking_eventfd_in_a_callback_is_refused) {
  const eventfd efd(0, EFD_NONBLOCK);
  std::error_code full;
  std::error_code timed;
  const notifier watcher{efd, [&](auto&) {
                           efd.write(eventfd::max, full);
                           efd.write_for(eventfd::max, std::chrono::seconds{1}, timed);
                         }};
  efd.signal();
  EXPECT_EQ(full, std::errc::resource_unavailable_try_again);
  EXPECT_EQ(timed, std::errc::resource_deadlock_would_occur);
}

TEST(notifier, a_callback_may_not_write_to_another_eventfd) {
  const eventfd efd;
  const eventfd other;
  std::error_code ec;
  const notifier watcher{efd, [&](auto&) { other.write(1, ec); }};
  efd.signal();
  EXPECT_EQ(ec, std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(other.info().count, 0U);
}

TEST(notifier, in_own_callback_is_true_for_the_signalled_eventfd_only) {
  const eventfd efd;
  const eventfd other;
  bool own = false;
  bool others = true;
  bool any = false;
  const notifier watcher{efd, [&](auto& ctx) {
                           own = ctx.in_own_callback();
                           others = other.unreferenced_context()->in_own_callback();
                           any = eventfd_ctx::in_callback();
                         }};
  efd.signal();
  EXPECT_TRUE(own);
  EXPECT_FALSE(others);
  EXPECT_TRUE(any);
  EXPECT_FALSE(eventfd_ctx::in_callback());
}

// Oracle: a call that fails reports its error, and its result, which would otherwise report a count, is false or 0.
TEST(notifier, calls_that_fail_report_the_error_and_no_count) {
  const eventfd efd{1};
  const eventfd other{1};
  const auto closed = eventfd::closed();
  notifier watch{efd, [](auto&) {}};
  std::error_code ec;
  EXPECT_FALSE(watch.register_with(other, notifier::sharing::every, ec));
  EXPECT_EQ(ec, std::errc::device_or_resource_busy);
  watch.unregister();
  EXPECT_FALSE(watch.register_with(closed, notifier::sharing::every, ec));
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  const eventfd source;
  notifier idle{other, [](auto&) {}};
  idle.unregister();
  const notifier caller{source, [&](auto&) {
                          EXPECT_FALSE(idle.register_with(other, notifier::sharing::every, ec));
                          EXPECT_EQ(ec, std::errc::resource_deadlock_would_occur);
                          EXPECT_FALSE(idle.register_with(closed, notifier::sharing::every, ec));
                          EXPECT_EQ(ec, std::errc::bad_file_descriptor);
                          EXPECT_EQ(other.context()->drain(ec), 0U);
                          EXPECT_EQ(ec, std::errc::resource_deadlock_would_occur);
                        }};
  source.signal();
  std::optional<notifier> own;
  own.emplace(efd, [&](auto&) {
    EXPECT_FALSE(own->register_with(efd, notifier::sharing::every, ec));
    EXPECT_EQ(ec, std::errc::device_or_resource_busy);
  });
  efd.signal();
}

/// Cannot be compared with nullptr, so only the converted function shows that it is empty.
struct converts_to_an_empty_release {
  explicit operator notifier::release_function() const { return {}; }
};

TEST(notifier, with_an_empty_release_function_is_ended_by_the_last_close) {
  eventfd efd;
  const std::function<void()> nothing;
  notifier watch{efd, [](auto&) {}, nothing};
  notifier other{efd, [](auto&) {}, notifier::release_function{}};
  notifier converted{efd, [](auto&) {}, converts_to_an_empty_release{}};
  efd.close();
  EXPECT_EQ(converted.unregister(), doorbell::decoupled::by_hup);
  EXPECT_EQ(watch.unregister(), doorbell::decoupled::by_hup);
  EXPECT_EQ(other.unregister(), doorbell::decoupled::by_hup);
}

}  // namespace
