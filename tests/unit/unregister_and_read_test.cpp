// SPDX-License-Identifier: Apache-2.0
//
// unregister_and_read() drains the count in the same step in which it removes the notifier.
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <system_error>

#include <doorbell/eventfd.hpp>

#include "support/asleep.hpp"
#include "support/errors.hpp"

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::asleep;
using doorbell::test::error_of;
using doorbell::test::thrown_by;

TEST(unregister_and_read, takes_the_count_and_removes_the_notifier) {
  const eventfd efd{5};
  int calls = 0;
  notifier watcher{efd, [&](auto&) { ++calls; }};
  std::uint64_t count = 0;
  EXPECT_EQ(watcher.unregister_and_read(count), decoupled::by_us);
  EXPECT_EQ(count, 5U);
  EXPECT_EQ(efd.info().count, 0U);
  efd.signal();
  EXPECT_EQ(calls, 0);
}

TEST(unregister_and_read, of_a_semaphore_takes_one) {
  const eventfd efd(5, EFD_SEMAPHORE);
  notifier watcher{efd, [](auto&) {}};
  std::uint64_t count = 0;
  EXPECT_EQ(watcher.unregister_and_read(count), decoupled::by_us);
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(efd.info().count, 4U);
}

TEST(unregister_and_read, at_0_reports_try_again_but_removes_the_notifier) {
  for (const int flags : {0, static_cast<int>(EFD_SEMAPHORE)}) {
    const eventfd efd(0, flags);
    int calls = 0;
    notifier watcher{efd, [&](auto&) { ++calls; }};
    std::uint64_t count = 77;
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(watcher.unregister_and_read(count, ec), decoupled::by_us); }),
              std::errc::resource_unavailable_try_again);
    EXPECT_EQ(count, 0U);
    efd.signal();
    EXPECT_EQ(calls, 0);
    EXPECT_EQ(efd.read(), 1U);
    watcher.register_with(efd);
    EXPECT_EQ(watcher.unregister_and_read(count), decoupled::by_us);
    EXPECT_EQ(count, 0U);
    EXPECT_EQ(watcher.unregister(), decoupled::not_registered);
  }
}

TEST(unregister_and_read, throws_only_if_nothing_was_unregistered) {
  const eventfd efd;
  const eventfd other;
  notifier watcher{efd, [](auto&) {}};
  std::error_code thrown;
  const notifier meddler{other, [&](auto&) {
                           std::uint64_t count = 0;
                           thrown = thrown_by([&] { watcher.unregister_and_read(count); });
                         }};
  other.signal();
  EXPECT_EQ(thrown, std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
}

TEST(unregister_and_read, after_hup_takes_the_remaining_count) {
  eventfd efd{6};
  notifier watcher{efd, [](auto&) {}};
  efd.close();
  std::uint64_t count = 0;
  EXPECT_EQ(watcher.unregister_and_read(count), decoupled::by_hup);
  EXPECT_EQ(count, 6U);
}

TEST(unregister_and_read, in_its_own_callback_takes_the_count_of_the_signal) {
  const eventfd efd;
  std::uint64_t count = 0;
  notifier* self = nullptr;
  notifier watcher{efd, [&](auto&) { EXPECT_EQ(self->unregister_and_read(count), decoupled::by_us); }};
  self = &watcher;
  efd.signal(8);
  EXPECT_EQ(count, 8U);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST(unregister_and_read, makes_room_for_a_sleeping_writer) {
  const eventfd efd;
  efd.write(eventfd::max);
  notifier watcher{efd, [](auto&) {}};
  asleep writer{[&] { efd.write(5); }};
  std::uint64_t count = 0;
  watcher.unregister_and_read(count);
  EXPECT_EQ(count, eventfd::max);
  writer.join();
  EXPECT_EQ(efd.read(), 5U);
}

}  // namespace
