// SPDX-License-Identifier: Apache-2.0
//
// Rows that run against doorbell only. The kernel offers most of these operations to its own modules (KVM, VFIO) only;
// their expected results are taken from its sources. Reads with a timeout or a stop token exist in doorbell only.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <system_error>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

namespace {

using doorbell::decoupled;
using doorbell::eventfd;
using doorbell::notifier;

TEST(doorbell_alone, signal_of_any_number_saturates) {
  const eventfd efd;
  efd.signal(eventfd::max);
  efd.signal(eventfd::max);
  EXPECT_EQ(efd.read(), UINT64_MAX);
}

TEST(doorbell_alone, read_with_a_timeout_expires) {
  const eventfd efd;
  std::error_code ec;
  EXPECT_EQ(efd.read_for(std::chrono::milliseconds{1}, ec), 0U);
  EXPECT_EQ(ec.value(), ETIMEDOUT);
}

TEST(doorbell_alone, read_is_cancelled_by_a_stop_token) {
  const eventfd efd;
  std::stop_source stop;
  stop.request_stop();
  std::error_code ec;
  EXPECT_EQ(efd.read(stop.get_token(), ec), 0U);
  EXPECT_EQ(ec.value(), ECANCELED);
}

TEST(doorbell_alone, unregister_and_read_takes_the_count_and_unregisters) {
  const eventfd efd{4};
  int calls = 0;
  notifier waiter{efd, [&](auto&) { ++calls; }};
  std::uint64_t count = 0;
  EXPECT_EQ(waiter.unregister_and_read(count), decoupled::by_us);
  EXPECT_EQ(count, 4U);
  efd.signal();
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(efd.read(), 1U);
}

TEST(doorbell_alone, unregister_and_read_at_0_is_eagain_and_unregisters) {
  const eventfd efd;
  int calls = 0;
  notifier waiter{efd, [&](auto&) { ++calls; }};
  std::uint64_t count = 0;
  std::error_code ec;
  EXPECT_EQ(waiter.unregister_and_read(count, ec), decoupled::by_us);
  EXPECT_EQ(ec.value(), EAGAIN);
  efd.signal();
  EXPECT_EQ(calls, 0);
}

TEST(doorbell_alone, drain_of_a_semaphore_at_0_is_0) {
  const eventfd efd(0, EFD_SEMAPHORE);
  EXPECT_EQ(efd.context()->drain(), 0U);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST(doorbell_alone, last_close_sends_hup_to_all) {
  eventfd efd;
  eventfd copy = efd;
  int releases = 0;
  notifier first{efd, [](auto&) {}, [&] { ++releases; }};
  notifier second{[](auto&) {}, [&] { ++releases; }};
  second.register_with(efd, notifier::sharing::exclusive);
  efd.close();
  EXPECT_EQ(releases, 0);
  copy.close();
  EXPECT_EQ(releases, 2);
}

}  // namespace
