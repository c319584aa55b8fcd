// SPDX-License-Identifier: Apache-2.0
//
// The count: the effect of reads, writes and signals that do not sleep, up to the largest values.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>

#include <poll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>

#include <doorbell/notifier.hpp>

#include "support/errors.hpp"

namespace {

using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::error_of;
using doorbell::test::thrown_by;

constexpr auto full = UINT64_MAX;  // only signals reach this count
constexpr auto again = std::errc::resource_unavailable_try_again;
constexpr unsigned in = POLLIN;
constexpr unsigned out = POLLOUT;
constexpr unsigned err = POLLERR;

/// The count is one word while the wait queue is empty, and is guarded by the queue's lock otherwise. Each test runs in
/// both states.
class eventfd_count : public ::testing::TestWithParam<bool> {
 protected:
  eventfd make(unsigned initial = 0, int flags = EFD_NONBLOCK) {
    eventfd efd(initial, flags);
    if (GetParam()) {
      watcher_.unregister();
      watcher_.register_with(efd);
    }
    return efd;
  }

 private:
  notifier watcher_{[](auto&) {}};
};

INSTANTIATE_TEST_SUITE_P(, eventfd_count, ::testing::Bool(),
                         [](const auto& watched) { return watched.param ? "watched" : "alone"; });

TEST_P(eventfd_count, a_read_takes_the_whole_count) {
  const auto efd = make(2);
  efd.signal();
  efd.write(4);
  EXPECT_EQ(efd.read(), 7U);
  EXPECT_EQ(error_of([&](auto& ec) { efd.read(ec); }), again);
  EXPECT_EQ(thrown_by([&] { efd.read(); }), again);
}

TEST_P(eventfd_count, a_read_of_a_semaphore_takes_one) {
  const auto efd = make(2, EFD_NONBLOCK | EFD_SEMAPHORE);
  efd.signal();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(efd.read(), 1U);
  EXPECT_EQ(error_of([&](auto& ec) { efd.read(ec); }), again);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST_P(eventfd_count, a_drain_of_a_semaphore_at_0_takes_nothing) {
  const auto efd = make(0, EFD_SEMAPHORE);
  EXPECT_EQ(efd.context()->drain(), 0U);
  EXPECT_EQ(efd.info().count, 0U);
  efd.signal();
  EXPECT_EQ(efd.context()->drain(), 1U);
  EXPECT_EQ(efd.context()->drain(), 0U);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST_P(eventfd_count, a_drain_takes_as_much_as_a_read_and_never_waits) {
  const auto efd = make(5, 0);
  EXPECT_EQ(efd.context()->drain(), 5U);
  EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.context()->drain(ec), 0U); }), std::error_code{});
}

TEST_P(eventfd_count, a_read_after_a_stop_request_takes_a_present_count) {
  const auto efd = make(5, 0);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(efd.read(stop.get_token()), 5U);
}

TEST_P(eventfd_count, a_write_of_the_largest_number_is_refused) {
  const auto efd = make();
  EXPECT_EQ(error_of([&](auto& ec) { efd.write(full, ec); }), std::errc::invalid_argument);
  EXPECT_EQ(thrown_by([&] { efd.write(full); }), std::errc::invalid_argument);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST_P(eventfd_count, a_write_of_0_succeeds_and_adds_nothing) {
  const auto efd = make();
  EXPECT_EQ(error_of([&](auto& ec) { efd.write(0, ec); }), std::error_code{});
  EXPECT_EQ(efd.info().count, 0U);
}

TEST_P(eventfd_count, a_write_that_does_not_fit_has_no_effect) {
  const auto efd = make();
  efd.write(eventfd::max - 1);
  EXPECT_EQ(error_of([&](auto& ec) { efd.write(2, ec); }), again);
  EXPECT_EQ(efd.info().count, eventfd::max - 1);
  efd.write(1);
  EXPECT_EQ(error_of([&](auto& ec) { efd.write(1, ec); }), again);
  EXPECT_EQ(efd.read(), eventfd::max);
}

TEST_P(eventfd_count, poll_reports_each_state_of_the_count) {
  const auto efd = make();
  EXPECT_EQ(efd.poll(), out);
  efd.signal();
  EXPECT_EQ(efd.poll(), in | out);
  efd.signal(eventfd::max - 2);
  EXPECT_EQ(efd.poll(), in | out);
  efd.signal();
  EXPECT_EQ(efd.poll(), in);
  efd.signal();
  EXPECT_EQ(efd.poll(), in | err);
}

TEST_P(eventfd_count, signals_saturate_at_the_largest_value) {
  const auto efd = make();
  efd.signal(eventfd::max);
  efd.signal(full);
  EXPECT_EQ(efd.info().count, full);
  efd.signal();
  EXPECT_EQ(efd.info().count, full);
  EXPECT_EQ(efd.read(), full);
  EXPECT_EQ(efd.info().count, 0U);
}

TEST_P(eventfd_count, at_the_largest_value_each_write_is_refused_even_of_0) {
  const auto efd = make();
  efd.signal(full);
  EXPECT_EQ(error_of([&](auto& ec) { efd.write(0, ec); }), again);
  EXPECT_EQ(error_of([&](auto& ec) { efd.write(1, ec); }), again);
  EXPECT_EQ(efd.info().count, full);
}

TEST_P(eventfd_count, one_read_of_a_saturated_semaphore_clears_its_poll_error) {
  const auto efd = make(0, EFD_NONBLOCK | EFD_SEMAPHORE);
  efd.signal(full);
  EXPECT_EQ(efd.read(), 1U);
  EXPECT_EQ(efd.poll(), in);
  EXPECT_EQ(efd.read(), 1U);
  EXPECT_EQ(efd.poll(), in | out);
  EXPECT_EQ(efd.info().count, full - 2);
}

TEST_P(eventfd_count, is_exact_on_both_sides_of_49_bits) {
  constexpr std::uint64_t edge = 1ULL << 49;
  for (const auto start : {edge - 2, edge - 1, edge, edge + 1}) {
    const auto efd = make();
    efd.signal(start);
    EXPECT_EQ(efd.info().count, start);
    efd.signal();
    efd.write(2);
    EXPECT_EQ(efd.info().count, start + 3);
    EXPECT_EQ(efd.read(), start + 3);
    efd.signal();
    EXPECT_EQ(efd.read(), 1U);
  }
}

TEST_P(eventfd_count, reads_of_a_semaphore_decrease_it_across_49_bits) {
  constexpr std::uint64_t edge = 1ULL << 49;
  const auto efd = make(0, EFD_NONBLOCK | EFD_SEMAPHORE);
  efd.signal(edge + 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(efd.read(), 1U);
  efd.signal(4);
  EXPECT_EQ(efd.info().count, edge + 1);
}

TEST_P(eventfd_count, buffers_hold_the_count_in_the_machines_byte_order) {
  const auto efd = make();
  const std::uint64_t number = 0x0102030405060708;
  std::array<std::byte, 8> bytes{};
  std::memcpy(bytes.data(), &number, sizeof number);
  EXPECT_EQ(efd.write(bytes), 8U);
  std::array<std::byte, 12> longer{};
  longer.fill(std::byte{0xee});
  EXPECT_EQ(efd.read(longer), 8U);
  EXPECT_EQ(std::memcmp(longer.data(), &number, sizeof number), 0);
  for (std::size_t i = 8; i < longer.size(); ++i) EXPECT_EQ(longer.at(i), std::byte{0xee});
}

TEST_P(eventfd_count, buffers_of_the_wrong_size_are_refused_and_take_nothing) {
  const auto efd = make(3);
  std::array<std::byte, 16> bytes{};
  for (const std::size_t size : {0U, 1U, 7U}) {
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.read(std::span{bytes}.first(size), ec), 0U); }),
              std::errc::invalid_argument);
    EXPECT_EQ(thrown_by([&] { efd.read(std::span{bytes}.first(size)); }), std::errc::invalid_argument);
  }
  for (const std::size_t size : {0U, 7U, 9U, 16U}) {
    const auto wrong = std::as_bytes(std::span{bytes}).first(size);
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.write(wrong, ec), 0U); }), std::errc::invalid_argument);
    EXPECT_EQ(thrown_by([&] { efd.write(wrong); }), std::errc::invalid_argument);
  }
  EXPECT_EQ(efd.info().count, 3U);
}

TEST_P(eventfd_count, reads_and_writes_of_buffers_report_errors) {
  const auto efd = make();
  std::array<std::byte, 8> bytes{};
  EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.read(bytes, ec), 0U); }), again);
  bytes.fill(std::byte{0xff});
  EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.write(std::as_bytes(std::span{bytes}), ec), 0U); }),
            std::errc::invalid_argument);
}

TEST(eventfd, a_write_of_0_calls_the_notifiers) {
  const eventfd efd;
  int calls = 0;
  const notifier watcher{efd, [&](auto&) { ++calls; }};
  efd.write(0);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(efd.info().count, 0U);
}

}  // namespace
