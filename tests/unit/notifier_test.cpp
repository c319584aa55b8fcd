// SPDX-License-Identifier: Apache-2.0
//
// The calls of a notifier beyond the contract's points: misuse and its errors, registering again, draining on the way out.
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <system_error>

#include <doorbell/eventfd.hpp>

#include "support/asleep.hpp"
#include "support/errors.hpp"

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::eventfd_ctx;
using doorbell::notifier;
using doorbell::test::asleep;
using doorbell::test::error_of;
using doorbell::test::thrown_by;
using sharing = notifier::sharing;

constexpr auto again = std::errc::resource_unavailable_try_again;
constexpr auto deadlock_error = std::errc::resource_deadlock_would_occur;

TEST(notifier, is_called_with_the_eventfd_for_each_signal_and_write) {
  const eventfd bell;
  eventfd_ctx* seen = nullptr;
  int calls = 0;
  const notifier watcher{bell, [&](eventfd_ctx& ctx) {
                           seen = &ctx;
                           ++calls;
                         }};
  bell.signal();
  EXPECT_EQ(seen, bell.unreferenced_context());
  bell.signal(41);
  bell.write(1);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(bell.read(), 43U);
  EXPECT_EQ(calls, 3) << "a read makes room, which calls nobody";
}

TEST(notifier, is_called_through_any_handle_and_through_the_context) {
  const eventfd bell;
  int calls = 0;
  const notifier watcher{bell, [&](auto&) { ++calls; }};
  const eventfd copy = bell;
  copy.signal();
  copy.context()->signal();
  EXPECT_EQ(calls, 2);
}

TEST(notifier, does_without_a_release_function) {
  eventfd bell;
  notifier watcher{bell, [](auto&) {}};
  bell.close();
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
}

TEST(notifier, hears_of_the_close_of_the_last_handle_only) {
  eventfd bell;
  eventfd copy = bell;
  int releases = 0;
  const notifier watcher{bell, [](auto&) {}, [&] { ++releases; }};
  bell.close();
  EXPECT_EQ(releases, 0);
  copy.close();
  EXPECT_EQ(releases, 1);
}

TEST(notifier, exclusive_ones_hear_of_the_last_close_all_the_same) {
  eventfd bell;
  int releases = 0;
  notifier x{[](auto&) {}, [&] { ++releases; }};
  notifier y{[](auto&) {}, [&] { ++releases; }};
  x.register_with(bell, sharing::exclusive);
  y.register_with(bell, sharing::exclusive);
  bell.close();
  EXPECT_EQ(releases, 2);
}

TEST(notifier, is_not_called_any_more_when_destroyed) {
  eventfd bell;
  int calls = 0;
  {
    const notifier watcher{bell, [&](auto&) { ++calls; }, [&] { ++calls; }};
  }
  bell.signal();
  bell.close();
  EXPECT_EQ(calls, 0);
}

TEST(notifier, registered_twice_is_refused) {
  const eventfd bell;
  const eventfd other;
  int calls = 0;
  notifier watcher{bell, [&](auto&) { ++calls; }};
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(bell, ec); }), std::errc::device_or_resource_busy);
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(other, ec); }), std::errc::device_or_resource_busy);
  EXPECT_EQ(thrown_by([&] { watcher.register_with(bell); }), std::errc::device_or_resource_busy);
  bell.signal();
  other.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier, between_hup_and_unregister_cannot_be_registered) {
  eventfd bell;
  const eventfd next;
  notifier watcher{bell, [](auto&) {}};
  bell.close();
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(next, ec); }), std::errc::device_or_resource_busy);
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(next, ec); }), std::error_code{});
}

TEST(notifier, on_a_closed_eventfd_is_refused) {
  eventfd bell;
  bell.close();
  notifier watcher{[](auto&) {}};
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(bell, ec); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(thrown_by([&] { watcher.register_with(bell); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(thrown_by([&] { const notifier refused(bell, [](auto&) {}); }), std::errc::bad_file_descriptor);
  std::error_code ec;
  notifier refused{bell, [](auto&) {}, {}, ec};
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  EXPECT_EQ(refused.unregister(), decoupled::not_registered);
  const eventfd open;
  EXPECT_EQ(error_of([&](auto& error) { refused.register_with(open, error); }), std::error_code{});
}

TEST(notifier, registers_again_after_unregister_and_elsewhere) {
  const eventfd bell;
  const eventfd other;
  int calls = 0;
  notifier watcher{bell, [&](auto&) { ++calls; }};
  bell.signal();
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  watcher.register_with(other);
  bell.signal();
  other.signal();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  watcher.register_with(bell, sharing::exclusive);
  bell.signal();
  EXPECT_EQ(calls, 3);
}

TEST(notifier, registers_again_after_hup) {
  int releases = 0;
  int calls = 0;
  notifier watcher{[&](auto&) { ++calls; }, [&] { ++releases; }};
  for (int life = 1; life <= 3; ++life) {
    eventfd bell;
    watcher.register_with(bell);
    bell.signal();
    bell.close();
    EXPECT_EQ(releases, life);
    EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
    EXPECT_EQ(calls, life);
  }
}

TEST(notifier, registering_on_another_eventfd_in_a_callback_is_refused) {
  const eventfd bell;
  const eventfd other;
  notifier second{[](auto&) {}};
  std::error_code ec;
  const notifier watcher{bell, [&](auto&) { second.register_with(other, ec); }};
  bell.signal();
  EXPECT_EQ(ec, deadlock_error);
  EXPECT_EQ(second.unregister(), decoupled::not_registered);
}

TEST(notifier, registering_on_the_same_eventfd_in_a_callback_is_fine) {
  const eventfd bell;
  int calls = 0;
  bool ready = false;
  notifier second{[&](auto&) { ++calls; }};
  notifier* self = nullptr;
  notifier watcher{bell, [&](auto&) {
                     ready = second.register_with(bell);
                     self->unregister();
                   }};
  self = &watcher;
  bell.signal();
  EXPECT_TRUE(ready);
  EXPECT_EQ(calls, 0) << "that signal came before";
  bell.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier, a_callback_may_read_what_does_not_block) {
  const eventfd bell(0, EFD_NONBLOCK);
  std::uint64_t first = 0;
  std::error_code second;
  const notifier watcher{bell, [&](auto&) {
                           first = bell.read();
                           bell.read(second);
                         }};
  bell.signal(5);
  EXPECT_EQ(first, 5U);
  EXPECT_EQ(second, again);
}

TEST(notifier, a_callback_may_drain_its_own_eventfd_and_no_other) {
  const eventfd bell;
  const eventfd other{3};
  std::uint64_t own = 0;
  std::error_code ec;
  const notifier watcher{bell, [&](auto& ctx) {
                           own += ctx.drain();
                           other.context()->drain(ec);
                         }};
  bell.signal(5);
  EXPECT_EQ(own, 5U);
  EXPECT_EQ(bell.info().count, 0U);
  EXPECT_EQ(ec, deadlock_error);
  EXPECT_EQ(other.read(), 3U);
}

TEST(notifier, a_callback_sees_the_count_and_what_to_poll) {
  const eventfd bell{2};
  std::uint64_t count = 0;
  unsigned events = 0;
  const notifier watcher{bell, [&](auto& ctx) {
                           count = ctx.info().count;
                           events = ctx.poll();
                         }};
  bell.signal(3);
  EXPECT_EQ(count, 5U);
  EXPECT_EQ(events, static_cast<unsigned>(POLLIN | POLLOUT));
}

TEST(notifier, a_callback_that_drains_makes_room_for_a_sleeping_writer) {
  const eventfd bell;
  bell.write(eventfd::max);
  asleep writer{[&] { bell.write(7); }};
  std::uint64_t drained = 0;
  notifier watcher{bell, [&](auto& ctx) { drained += ctx.drain() % eventfd::max; }};
  bell.signal();
  writer.join();
  watcher.unregister();
  EXPECT_EQ(drained + bell.context()->drain(), 1U + 7U);
}

TEST(notifier, a_callback_may_write_where_that_does_not_sleep) {
  const eventfd bell;
  int calls = 0;
  std::error_code fits;
  std::error_code full;
  const notifier watcher{bell, [&](auto&) {
                           if (++calls > 1) return;
                           bell.write(2, fits);
                           bell.write(eventfd::max, full);
                         }};
  bell.signal();
  EXPECT_FALSE(fits);
  EXPECT_EQ(full, deadlock_error);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(bell.read(), 3U);
}

TEST(notifier, a_callback_that_writes_to_an_eventfd_that_does_not_block_is_told_that_there_is_no_room) {
  const eventfd bell(0, EFD_NONBLOCK);
  std::error_code full;
  std::error_code timed;
  const notifier watcher{bell, [&](auto&) {
                           bell.write(eventfd::max, full);
                           bell.write_for(eventfd::max, std::chrono::seconds{1}, timed);
                         }};
  bell.signal();
  EXPECT_EQ(full, again);
  EXPECT_EQ(timed, deadlock_error);
}

TEST(notifier, a_callback_may_not_write_to_another_eventfd) {
  const eventfd bell;
  const eventfd other;
  std::error_code ec;
  const notifier watcher{bell, [&](auto&) { other.write(1, ec); }};
  bell.signal();
  EXPECT_EQ(ec, deadlock_error);
  EXPECT_EQ(other.info().count, 0U);
}

TEST(notifier, in_a_callback_is_told_apart_by_eventfd) {
  const eventfd bell;
  const eventfd other;
  bool own = false;
  bool others = true;
  bool any = false;
  const notifier watcher{bell, [&](auto& ctx) {
                           own = ctx.in_own_callback();
                           others = other.unreferenced_context()->in_own_callback();
                           any = eventfd_ctx::in_callback();
                         }};
  bell.signal();
  EXPECT_TRUE(own);
  EXPECT_FALSE(others);
  EXPECT_TRUE(any);
  EXPECT_FALSE(eventfd_ctx::in_callback());
}

TEST(unregister_and_read, takes_the_count_and_the_notifier_off) {
  const eventfd bell{5};
  int calls = 0;
  notifier watcher{bell, [&](auto&) { ++calls; }};
  std::uint64_t count = 0;
  EXPECT_EQ(watcher.unregister_and_read(count), decoupled::by_us);
  EXPECT_EQ(count, 5U);
  EXPECT_EQ(bell.info().count, 0U);
  bell.signal();
  EXPECT_EQ(calls, 0);
}

TEST(unregister_and_read, of_a_semaphore_takes_one) {
  const eventfd bell(5, EFD_SEMAPHORE);
  notifier watcher{bell, [](auto&) {}};
  std::uint64_t count = 0;
  EXPECT_EQ(watcher.unregister_and_read(count), decoupled::by_us);
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(bell.info().count, 4U);
}

TEST(unregister_and_read, at_0_says_so_and_takes_the_notifier_off_all_the_same) {
  for (const int flags : {0, static_cast<int>(EFD_SEMAPHORE)}) {
    const eventfd bell(0, flags);
    int calls = 0;
    notifier watcher{bell, [&](auto&) { ++calls; }};
    std::uint64_t count = 77;
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(watcher.unregister_and_read(count, ec), decoupled::by_us); }), again);
    EXPECT_EQ(count, 0U);
    bell.signal();
    EXPECT_EQ(calls, 0);
    EXPECT_EQ(bell.read(), 1U);
    watcher.register_with(bell);
    EXPECT_EQ(thrown_by([&] { watcher.unregister_and_read(count); }), again);
    EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
  }
}

TEST(unregister_and_read, after_hup_takes_what_was_left) {
  eventfd bell{6};
  notifier watcher{bell, [](auto&) {}};
  bell.close();
  std::uint64_t count = 0;
  EXPECT_EQ(watcher.unregister_and_read(count), decoupled::by_hup);
  EXPECT_EQ(count, 6U);
}

TEST(unregister_and_read, in_its_own_callback_takes_the_signal_that_calls) {
  const eventfd bell;
  std::uint64_t count = 0;
  notifier* self = nullptr;
  notifier watcher{bell, [&](auto&) { EXPECT_EQ(self->unregister_and_read(count), decoupled::by_us); }};
  self = &watcher;
  bell.signal(8);
  EXPECT_EQ(count, 8U);
  EXPECT_EQ(bell.info().count, 0U);
}

TEST(unregister_and_read, makes_room_for_a_sleeping_writer) {
  const eventfd bell;
  bell.write(eventfd::max);
  notifier watcher{bell, [](auto&) {}};
  asleep writer{[&] { bell.write(5); }};
  std::uint64_t count = 0;
  watcher.unregister_and_read(count);
  EXPECT_EQ(count, eventfd::max);
  writer.join();
  EXPECT_EQ(bell.read(), 5U);
}

}  // namespace
