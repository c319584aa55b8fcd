// SPDX-License-Identifier: Apache-2.0
//
// The calls of a notifier beyond the points of the contract: misuse and its errors, and repeated registration.
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <system_error>
#include <thread>
#include <vector>

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

TEST(notifier, is_called_with_the_eventfd_for_each_signal_and_write) {
  const eventfd efd;
  eventfd_ctx* seen = nullptr;
  int calls = 0;
  const notifier watcher{efd, [&](eventfd_ctx& ctx) {
                           seen = &ctx;
                           ++calls;
                         }};
  efd.signal();
  EXPECT_EQ(seen, efd.unreferenced_context());
  efd.signal(41);
  efd.write(1);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(efd.read(), 43U);
  EXPECT_EQ(calls, 3) << "a read makes room, but does not call the notifier";
}

// Oracle: the eventfd has the count, no function is called, and the registration ends as any other.
TEST(notifier, works_with_each_form_of_an_empty_function) {
  const auto expect_quiet = [](const auto& signal, const auto& release) {
    eventfd efd;
    notifier watcher{efd, signal, release};
    efd.signal(2);
    EXPECT_EQ(efd.read(), 2U);
    efd.close();
    EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
  };
  expect_quiet(nullptr, nullptr);
  expect_quiet(static_cast<void (*)(eventfd_ctx&)>(nullptr), static_cast<void (*)()>(nullptr));
  expect_quiet(std::function<void(eventfd_ctx&)>{}, std::function<void()>{});
  eventfd efd;
  notifier watcher{efd, notifier::signal_function{}, notifier::release_function{}};
  efd.signal();
  efd.close();
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
}

TEST(notifier, is_called_through_any_handle_and_through_the_context) {
  const eventfd efd;
  int calls = 0;
  const notifier watcher{efd, [&](auto&) { ++calls; }};
  const eventfd copy = efd;
  copy.signal();
  copy.context()->signal();
  EXPECT_EQ(calls, 2);
}

TEST(notifier, works_without_a_release_function) {
  eventfd efd;
  notifier watcher{efd, [](auto&) {}};
  efd.close();
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
}

TEST(notifier, is_released_by_the_close_of_the_last_handle_only) {
  eventfd efd;
  eventfd copy = efd;
  int releases = 0;
  const notifier watcher{efd, [](auto&) {}, [&] { ++releases; }};
  efd.close();
  EXPECT_EQ(releases, 0);
  copy.close();
  EXPECT_EQ(releases, 1);
}

TEST(notifier, each_exclusive_one_is_released_by_the_last_close) {
  eventfd efd;
  int releases = 0;
  notifier x{[](auto&) {}, [&] { ++releases; }};
  notifier y{[](auto&) {}, [&] { ++releases; }};
  x.register_with(efd, sharing::exclusive);
  y.register_with(efd, sharing::exclusive);
  efd.close();
  EXPECT_EQ(releases, 2);
}

TEST(notifier, is_not_called_after_its_destruction) {
  eventfd efd;
  int calls = 0;
  {
    const notifier watcher{efd, [&](auto&) { ++calls; }, [&] { ++calls; }};
  }
  efd.signal();
  efd.close();
  EXPECT_EQ(calls, 0);
}

TEST(notifier, registered_twice_is_refused) {
  const eventfd efd;
  const eventfd other;
  int calls = 0;
  notifier watcher{efd, [&](auto&) { ++calls; }};
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(efd, ec); }), std::errc::device_or_resource_busy);
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(other, ec); }), std::errc::device_or_resource_busy);
  EXPECT_EQ(thrown_by([&] { watcher.register_with(efd); }), std::errc::device_or_resource_busy);
  efd.signal();
  other.signal();
  EXPECT_EQ(calls, 1);
}

TEST(notifier, between_hup_and_unregister_cannot_be_registered) {
  eventfd efd;
  const eventfd next;
  notifier watcher{efd, [](auto&) {}};
  efd.close();
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(next, ec); }), std::errc::device_or_resource_busy);
  EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(next, ec); }), std::error_code{});
}

TEST(notifier, registered_with_a_closed_eventfd_is_refused) {
  eventfd efd;
  efd.close();
  notifier watcher{[](auto&) {}};
  EXPECT_EQ(error_of([&](auto& ec) { watcher.register_with(efd, ec); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(thrown_by([&] { watcher.register_with(efd); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(thrown_by([&] { const notifier refused(efd, [](auto&) {}); }), std::errc::bad_file_descriptor);
  std::error_code ec;
  notifier refused{efd, [](auto&) {}, {}, ec};
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  EXPECT_EQ(refused.unregister(), decoupled::not_registered);
  const eventfd open;
  EXPECT_EQ(error_of([&](auto& error) { refused.register_with(open, error); }), std::error_code{});
}

TEST(notifier, registers_again_after_unregister_and_elsewhere) {
  const eventfd efd;
  const eventfd other;
  int calls = 0;
  notifier watcher{efd, [&](auto&) { ++calls; }};
  efd.signal();
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  watcher.register_with(other);
  efd.signal();
  other.signal();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(watcher.unregister(), decoupled::by_us);
  watcher.register_with(efd, sharing::exclusive);
  efd.signal();
  EXPECT_EQ(calls, 3);
}

TEST(notifier, registers_again_after_hup) {
  int releases = 0;
  int calls = 0;
  notifier watcher{[&](auto&) { ++calls; }, [&] { ++releases; }};
  for (int life = 1; life <= 3; ++life) {
    eventfd efd;
    watcher.register_with(efd);
    efd.signal();
    efd.close();
    EXPECT_EQ(releases, life);
    EXPECT_EQ(watcher.unregister(), decoupled::by_hup);
    EXPECT_EQ(calls, life);
  }
}

// Oracle: when drain() returns, the notifier has been called for the write that drain() made room for.
TEST(notifier, is_called_for_a_sleeping_write_by_the_thread_that_made_room) {
  const eventfd efd;
  efd.write(eventfd::max);
  asleep writer{[&] { efd.write(7); }};
  std::vector<std::thread::id> callers;
  const notifier watcher{efd, [&](auto&) { callers.push_back(std::this_thread::get_id()); }};
  efd.context()->drain();
  EXPECT_EQ(callers, std::vector{std::this_thread::get_id()});
  writer.join();
  EXPECT_EQ(efd.read(), 7U);
}

}  // namespace
