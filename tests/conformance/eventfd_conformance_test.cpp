// SPDX-License-Identifier: Apache-2.0
//
// The results of calls on an eventfd: each row (docs/architecture.md) runs against the kernel and against doorbell.
#include <gtest/gtest.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <initializer_list>
#include <thread>
#include <type_traits>

#include "doorbell_side.hpp"
#include "kernel_side.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/in_handler.hpp"
#include "support/signal_handler.hpp"

DOORBELL_TEST_FORKS

namespace {

using doorbell::test::answer;
using doorbell::test::asleep;
using doorbell::test::call_under_signals;
using doorbell::test::doorbell_side;
using doorbell::test::expect_success;
using doorbell::test::fails;
using doorbell::test::in_child;
using doorbell::test::in_handler;
using doorbell::test::kernel_side;
using doorbell::test::signal_handler;
using doorbell::test::succeeds;

constexpr std::uint64_t full = UINT64_MAX - 1;   // the highest count after writes
constexpr std::uint64_t saturated = UINT64_MAX;  // the highest count after signals
constexpr unsigned in = POLLIN;
constexpr unsigned out = POLLOUT;
constexpr unsigned err = POLLERR;

template <class Side>
class eventfd_row : public ::testing::Test {
 protected:
  /// @return an eventfd with the count 2^64-1, which only signals reach.
  static Side make_saturated(int flags) {
    Side efd(0, flags);
    EXPECT_EQ(efd.write(full), succeeds(8));
    efd.signal();
    return efd;
  }
};

struct name_of_side {
  template <class Side>
  static std::string GetName(int) {  // NOLINT(readability-identifier-naming): GoogleTest calls it so
    return std::is_same_v<Side, kernel_side> ? "kernel" : "doorbell";
  }
};

TYPED_TEST_SUITE(eventfd_row, decltype(::testing::Types<kernel_side, doorbell_side>{}), name_of_side);

// create | flags outside CLOEXEC, NONBLOCK, SEMAPHORE | EINVAL; the initial value is 32 bits

TYPED_TEST(eventfd_row, create_accepts_three_flags) {
  for (const int flags : std::initializer_list<int>{0, EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE,
                                                    EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE})
    EXPECT_EQ(TypeParam::create(0, flags), succeeds(0)) << flags;
}

TYPED_TEST(eventfd_row, create_refuses_other_flags) {
  for (const int flags : {2, 4, 8, EFD_NONBLOCK | 2, -1})
    EXPECT_EQ(TypeParam::create(0, flags), fails(EINVAL)) << flags;
}

TYPED_TEST(eventfd_row, create_starts_with_a_count_of_32_bits) {
  EXPECT_EQ(TypeParam(0).count(), 0U);
  EXPECT_EQ(TypeParam(UINT32_MAX).read(), succeeds(UINT32_MAX));
}

// read | buffer < 8 bytes | EINVAL; a longer one reads 8

TYPED_TEST(eventfd_row, read_into_less_than_8_bytes_is_einval) {
  const TypeParam efd(5);
  for (const auto size : {0U, 1U, 7U}) EXPECT_EQ(efd.read_bytes(size), fails(EINVAL)) << size;
  EXPECT_EQ(efd.read(), succeeds(5));
}

TYPED_TEST(eventfd_row, read_into_more_than_8_bytes_reads_8) {
  const TypeParam efd(5);
  EXPECT_EQ(efd.read_bytes(64), succeeds(8));
  EXPECT_EQ(efd.count(), 0U);
}

// read | count 0 | NONBLOCK: EAGAIN; else sleeps, interruptible

TYPED_TEST(eventfd_row, nonblocking_read_at_0_is_eagain) {
  const TypeParam efd(0, EFD_NONBLOCK);
  EXPECT_EQ(efd.read(), fails(EAGAIN));
  EXPECT_EQ(efd.read_bytes(7), fails(EINVAL));
}

TYPED_TEST(eventfd_row, read_at_0_sleeps_until_there_is_a_count) {
  const TypeParam efd;
  answer got;
  asleep reader{[&] { got = efd.read(); }};
  EXPECT_EQ(efd.write(0), succeeds(8));
  EXPECT_EQ(efd.write(3), succeeds(8));
  reader.join();
  EXPECT_EQ(got, succeeds(3));
  EXPECT_EQ(efd.count(), 0U);
}

TYPED_TEST(eventfd_row, read_at_0_is_interrupted_by_a_handler) {
  const signal_handler handler{0};
  const TypeParam efd;
  answer got;
  call_under_signals([&] { got = efd.read(); });
  EXPECT_EQ(got, fails(EINTR));
}

TYPED_TEST(eventfd_row, read_at_0_is_not_interrupted_by_a_handler_with_sa_restart) {
  const signal_handler handler{SA_RESTART};
  const TypeParam efd;
  answer got;
  asleep reader{[&] { got = efd.read(); }};
  ::pthread_kill(reader.native_handle(), SIGUSR1);
  EXPECT_TRUE(reader.still_asleep());
  EXPECT_EQ(efd.write(3), succeeds(8));
  reader.join();
  EXPECT_EQ(got, succeeds(3));
}

// read | count > 0 | returns it and zeroes it; SEMAPHORE: returns 1, takes 1; wakes POLLOUT waiters

TYPED_TEST(eventfd_row, read_takes_the_count) {
  const TypeParam efd(2, EFD_NONBLOCK);
  EXPECT_EQ(efd.write(full - 2), succeeds(8));
  EXPECT_EQ(efd.read(), succeeds(full));
  EXPECT_EQ(efd.read(), fails(EAGAIN));
}

TYPED_TEST(eventfd_row, read_of_a_semaphore_takes_one) {
  const TypeParam efd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
  EXPECT_EQ(efd.read(), succeeds(1));
  EXPECT_EQ(efd.count(), 1U);
  EXPECT_EQ(efd.read(), succeeds(1));
  EXPECT_EQ(efd.read(), fails(EAGAIN));
}

TYPED_TEST(eventfd_row, read_wakes_a_writer_that_waits_for_room) {
  const TypeParam efd;
  EXPECT_EQ(efd.write(full), succeeds(8));
  asleep writer{[&] { EXPECT_EQ(efd.write(7), succeeds(8)); }};
  EXPECT_EQ(efd.read(), succeeds(full));
  writer.join();
  EXPECT_EQ(efd.read(), succeeds(7));
}

TYPED_TEST(eventfd_row, read_does_not_wake_pollin_waiters) {
  const TypeParam efd(1);
  EXPECT_LE(efd.pollin_wakes([&] { EXPECT_EQ(efd.read(), succeeds(1)); }), 0);
}

// write | length not 8 | EINVAL

TYPED_TEST(eventfd_row, write_of_less_than_8_bytes_is_einval) {
  const TypeParam efd;
  for (const auto size : {0U, 1U, 7U}) EXPECT_EQ(efd.write_bytes(size), fails(EINVAL)) << size;
}

TYPED_TEST(eventfd_row, write_of_more_than_8_bytes_is_einval) {
  if (!TypeParam::refuses_long_writes()) GTEST_SKIP() << "this kernel writes the first 8 bytes";
  const TypeParam efd;
  for (const auto size : {9U, 16U}) EXPECT_EQ(efd.write_bytes(size), fails(EINVAL)) << size;
}

// write | value 2^64-1 | EINVAL

TYPED_TEST(eventfd_row, write_of_the_largest_number_is_einval) {
  const TypeParam efd;
  EXPECT_EQ(efd.write(saturated), fails(EINVAL));
  EXPECT_EQ(efd.count(), 0U);
}

// write | count + v > 2^64-2 | NONBLOCK: EAGAIN; else sleeps until it fits

TYPED_TEST(eventfd_row, nonblocking_write_of_more_than_fits_is_eagain) {
  const TypeParam efd(3, EFD_NONBLOCK);
  EXPECT_EQ(efd.write(full - 2), fails(EAGAIN));
  EXPECT_EQ(efd.count(), 3U);
  EXPECT_EQ(efd.write(full - 3), succeeds(8));
  EXPECT_EQ(efd.write(1), fails(EAGAIN));
  EXPECT_EQ(efd.count(), full);
}

TYPED_TEST(eventfd_row, write_of_more_than_fits_sleeps_until_it_fits) {
  const TypeParam efd(0, EFD_SEMAPHORE);
  EXPECT_EQ(efd.write(full), succeeds(8));
  asleep writer{[&] { EXPECT_EQ(efd.write(2), succeeds(8)); }};
  EXPECT_EQ(efd.read(), succeeds(1));
  EXPECT_TRUE(writer.still_asleep());
  EXPECT_EQ(efd.count(), full - 1);
  EXPECT_EQ(efd.read(), succeeds(1));
  writer.join();
  EXPECT_EQ(efd.count(), full);
}

TYPED_TEST(eventfd_row, sleeping_write_is_interrupted_by_a_handler) {
  const signal_handler handler{0};
  const TypeParam efd;
  EXPECT_EQ(efd.write(full), succeeds(8));
  answer told;
  call_under_signals([&] { told = efd.write(1); });
  EXPECT_EQ(told, fails(EINTR));
  EXPECT_EQ(efd.count(), full);
}

// write(0) | | fits up to 2^64-2, returns 8, wakes with POLLIN though count may be 0

TYPED_TEST(eventfd_row, write_of_0_succeeds_up_to_the_largest_count_of_writes) {
  const TypeParam efd(0, EFD_NONBLOCK);
  EXPECT_EQ(efd.write(0), succeeds(8));
  EXPECT_EQ(efd.count(), 0U);
  EXPECT_EQ(efd.write(full), succeeds(8));
  EXPECT_EQ(efd.write(0), succeeds(8));
  EXPECT_EQ(efd.count(), full);
}

TYPED_TEST(eventfd_row, nonblocking_write_of_0_at_saturation_is_eagain) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const auto efd = this->make_saturated(EFD_NONBLOCK);
  EXPECT_EQ(efd.count(), saturated);
  EXPECT_EQ(efd.write(0), fails(EAGAIN));
}

TYPED_TEST(eventfd_row, write_of_0_at_saturation_sleeps_until_a_read) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const auto efd = this->make_saturated(0);
  asleep writer{[&] { EXPECT_EQ(efd.write(0), succeeds(8)); }};
  EXPECT_EQ(efd.read(), succeeds(saturated));
  writer.join();
  EXPECT_EQ(efd.count(), 0U);
}

TYPED_TEST(eventfd_row, write_of_0_wakes_pollin_waiters) {
  const TypeParam efd;
  EXPECT_EQ(efd.pollin_wakes([&] { EXPECT_EQ(efd.write(0), succeeds(8)); }), 1);
  EXPECT_EQ(efd.count(), 0U);
}

TYPED_TEST(eventfd_row, write_wakes_pollin_waiters) {
  const TypeParam efd;
  EXPECT_EQ(efd.pollin_wakes([&] { EXPECT_EQ(efd.write(1), succeeds(8)); }), 1);
}

// poll | count > 0 / == 2^64-1 / < 2^64-2 | IN / ERR / OUT

TYPED_TEST(eventfd_row, poll_reports_in_for_a_count_and_out_for_room) {
  const TypeParam efd;
  EXPECT_EQ(efd.poll(), out);
  EXPECT_EQ(efd.write(1), succeeds(8));
  EXPECT_EQ(efd.poll(), in | out);
  EXPECT_EQ(efd.write(full - 2), succeeds(8));
  EXPECT_EQ(efd.poll(), in | out);
  EXPECT_EQ(efd.write(1), succeeds(8));
  EXPECT_EQ(efd.poll(), in);
}

TYPED_TEST(eventfd_row, poll_reports_in_and_err_at_saturation) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  EXPECT_EQ(this->make_saturated(0).poll(), in | err);
}

// signal(n) | | saturates at 2^64-1, never sleeps, wakes POLLIN. Programs can make the kernel signal n = 1 only.

TYPED_TEST(eventfd_row, signal_adds_1) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const TypeParam efd(5);
  efd.signal();
  EXPECT_EQ(efd.read(), succeeds(6));
}

TYPED_TEST(eventfd_row, signal_saturates_and_does_not_sleep) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const auto efd = this->make_saturated(0);
  efd.signal();
  efd.signal();
  EXPECT_EQ(efd.count(), saturated);
  EXPECT_EQ(efd.read(), succeeds(saturated));
  EXPECT_EQ(efd.count(), 0U);
}

TYPED_TEST(eventfd_row, signal_wakes_a_sleeping_reader) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const TypeParam efd;
  answer got;
  asleep reader{[&] { got = efd.read(); }};
  efd.signal();
  reader.join();
  EXPECT_EQ(got, succeeds(1));
}

TYPED_TEST(eventfd_row, signal_wakes_pollin_waiters) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const TypeParam efd;
  EXPECT_EQ(efd.pollin_wakes([&] { efd.signal(); }), 1);
}

TYPED_TEST(eventfd_row, read_of_a_saturated_semaphore_takes_one) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const auto efd = this->make_saturated(EFD_SEMAPHORE);
  EXPECT_EQ(efd.read(), succeeds(1));
  EXPECT_EQ(efd.poll(), in);
  EXPECT_EQ(efd.read(), succeeds(1));
  EXPECT_EQ(efd.poll(), in | out);
}

// signal | from inside a wake walk | delivered after the walk. The kernel ignores a signal that a wake function makes
// without deferring it. The wake functions that programs can reach defer their signals.

TYPED_TEST(eventfd_row, signal_from_inside_a_wake_walk_arrives_at_another_eventfd) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const TypeParam first;
  const TypeParam second;
  const typename TypeParam::chain chained{first, second};
  EXPECT_EQ(first.write(1), succeeds(8));
  EXPECT_EQ(second.read(), succeeds(1));
}

TYPED_TEST(eventfd_row, signal_from_inside_a_wake_walk_arrives_at_the_same_eventfd) {
  if (!TypeParam::can_signal()) GTEST_SKIP() << "the kernel's AIO is not available";
  const TypeParam efd(0, EFD_SEMAPHORE);
  const typename TypeParam::chain chained{efd, efd};
  EXPECT_EQ(efd.write(1), succeeds(8));
  EXPECT_EQ(efd.read(), succeeds(1));
  EXPECT_EQ(efd.read(), succeeds(1));
  EXPECT_EQ(efd.count(), 0U);
}

// drain of a SEMAPHORE at 0 | | 0, never wraps. Programs reach the kernel's drain through read(2).

TYPED_TEST(eventfd_row, read_of_a_semaphore_at_0_does_not_wrap) {
  const TypeParam efd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
  EXPECT_EQ(efd.read(), fails(EAGAIN));
  EXPECT_EQ(efd.count(), 0U);
  EXPECT_EQ(efd.poll(), out);
}

// last close | | HUP to all. Programs can observe only that the eventfd lives until the last descriptor is closed.

TYPED_TEST(eventfd_row, duplicate_keeps_the_eventfd_open) {
  TypeParam efd(3);
  const auto copy = efd.duplicate();
  EXPECT_EQ(efd.id(), copy.id());
  efd.close();
  EXPECT_EQ(copy.write(4), succeeds(8));
  EXPECT_EQ(copy.read(), succeeds(7));
}

// info | | count, id (unique), semaphore

TYPED_TEST(eventfd_row, info_has_the_count) {
  const TypeParam efd(7);
  EXPECT_EQ(efd.count(), 7U);
  EXPECT_EQ(efd.write(full - 7), succeeds(8));
  EXPECT_EQ(efd.count(), full);
}

TYPED_TEST(eventfd_row, info_has_a_unique_id) {
  const TypeParam efd;
  const TypeParam other;
  EXPECT_NE(efd.id(), other.id());
}

TYPED_TEST(eventfd_row, info_has_the_semaphore_flag) {
  if (!TypeParam::tells_semaphore()) GTEST_SKIP() << "this kernel does not show whether an eventfd is a semaphore";
  EXPECT_FALSE(TypeParam().semaphore());
  EXPECT_TRUE(TypeParam(0, EFD_SEMAPHORE).semaphore());
}

// fork | | the child has the count at the fork, and may use the eventfd. Afterwards both processes share the kernel's
// eventfd, but not doorbell's. In these tests only one of the processes uses it.

TYPED_TEST(eventfd_row, fork_gives_the_child_the_count) {
  const TypeParam efd(7, EFD_NONBLOCK);
  in_child([&] {
    EXPECT_EQ(efd.count(), 7U);
    EXPECT_EQ(efd.poll(), in | out);
    EXPECT_EQ(efd.read(), succeeds(7));
    EXPECT_EQ(efd.read(), fails(EAGAIN));
    EXPECT_EQ(efd.write(3), succeeds(8));
    EXPECT_EQ(efd.read(), succeeds(3));
  });
}

TYPED_TEST(eventfd_row, fork_leaves_sleeping_readers_in_the_parent) {
  if (doorbell::test::ends_children_that_use_stacks_again) GTEST_SKIP() << "this ThreadSanitizer ends such children";
  const TypeParam efd;
  answer got;
  asleep reader{[&] { got = efd.read(); }};
  in_child([] {
    const TypeParam own;
    asleep reader_of_child{[&] { EXPECT_EQ(own.read(), succeeds(2)); }};
    EXPECT_EQ(own.write(2), succeeds(8));
  });
  EXPECT_TRUE(reader.still_asleep());
  EXPECT_EQ(efd.write(5), succeeds(8));
  reader.join();
  EXPECT_EQ(got, succeeds(5));
}

TYPED_TEST(eventfd_row, fork_in_a_handler_interrupts_the_read_in_both_processes) {
  const TypeParam efd;
  pid_t child = -1;
  const in_handler forks{[&] { child = ::fork(); }};
  answer got;
  asleep reader{[&] {
    got = efd.read();
    if (child == 0) ::_exit(got == fails(EINTR) && efd.write(1) == succeeds(8) && efd.read() == succeeds(1) ? 0 : 1);
  }};
  ::pthread_kill(reader.native_handle(), SIGUSR1);
  reader.join();
  EXPECT_EQ(got, fails(EINTR));
  expect_success(child);
}

TYPED_TEST(eventfd_row, close_in_the_child_of_fork_keeps_the_eventfd_open_in_the_parent) {
  TypeParam efd(4);
  in_child([&] { efd.close(); });
  EXPECT_EQ(efd.read(), succeeds(4));
}

}  // namespace
