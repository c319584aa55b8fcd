// SPDX-License-Identifier: Apache-2.0
//
// io_getevents and io_pgetevents: their arguments, what they get, and how long they wait.
#include <cerrno>
#include <climits>

#include "aio_row.hpp"
#include "support/asleep.hpp"

namespace doorbell::test {
namespace {

constexpr aio_context_t nobody = 0x1000;

class aio_getevents : public aio_row {
 protected:
  int get(long min, long nr, io_event* events, timespec timeout) const {
    return getevents(ctx_, min, nr, events, &timeout);
  }
  int get(long min, long nr, timespec timeout) { return get(min, nr, events_.data(), timeout); }
  /// So many events, there when this returns.
  void complete(int count) {
    const auto bell = kernel_eventfd(0, EFD_SEMAPHORE);
    iocb_abi read = ringing(file_read(), bell.get());
    for (int done = 0; done < count; ++done) {
      std::uint64_t rung = 0;
      ASSERT_EQ(submit(ctx_, read), 1);
      ASSERT_EQ(::read(bell.get(), &rung, sizeof rung), 8);
    }
  }

  static constexpr timespec at_once{};
  static constexpr timespec a_moment{.tv_sec = 0, .tv_nsec = 1'000'000};

  const aio_context_t ctx_ = new_context();
  std::array<io_event, 8> events_{};
};
ON_BOTH_SIDES(aio_getevents);

TEST_P(aio_getevents, a_timeout_that_cannot_be_read_is_efault_before_all_else) {
  EXPECT_EQ(getevents(nobody, 1, 0, nullptr, kernels_address<timespec>()), -EFAULT);
  EXPECT_EQ(side().pgetevents(nobody, 1, 0, nullptr, kernels_address<timespec>(), kernels_address<aio::aio_sigset>()),
            -EFAULT);
}

TEST_P(aio_getevents, a_mask_that_cannot_be_read_is_efault_and_of_another_size_einval) {
  timespec timeout = at_once;
  sigset_t mask{};
  const auto get_with = [&](aio::aio_sigset set) { return side().pgetevents(nobody, 1, 0, nullptr, &timeout, &set); };
  EXPECT_EQ(side().pgetevents(nobody, 1, 0, nullptr, &timeout, kernels_address<aio::aio_sigset>()), -EFAULT);
  EXPECT_EQ(get_with({&mask, 4}), -EINVAL);
  EXPECT_EQ(get_with({kernels_address<sigset_t>(), 4}), -EINVAL);
  EXPECT_EQ(get_with({kernels_address<sigset_t>(), 8}), -EFAULT);
}

TEST_P(aio_getevents, without_a_mask_its_size_is_not_looked_at) {
  timespec timeout = at_once;
  const aio::aio_sigset none{nullptr, 4};
  EXPECT_EQ(side().pgetevents(ctx_, 0, 1, events_.data(), &timeout, &none), 0);
  EXPECT_EQ(side().pgetevents(ctx_, 0, 1, events_.data(), &timeout, nullptr), 0);
}

TEST_P(aio_getevents, no_such_context_is_einval) {
  timespec timeout = at_once;
  for (const auto handle : {aio_context_t{0}, nobody, ~aio_context_t{0}})
    EXPECT_EQ(getevents(handle, 0, 0, nullptr, &timeout), -EINVAL);
}

TEST_P(aio_getevents, nr_may_exceed_what_the_ring_and_memory_can_hold) {
  for (const long nr : {0x7fffffffL, 1L << 43, 1L << 45, 1L << 59, LONG_MAX}) {
    complete(1);
    EXPECT_EQ(get(1, nr, a_moment), 1) << nr;
  }
}

TEST_P(aio_getevents, min_is_from_0_to_nr) {
  EXPECT_EQ(get(-1, 1, at_once), -EINVAL);
  EXPECT_EQ(get(2, 1, at_once), -EINVAL);
  EXPECT_EQ(get(0, -1, at_once), -EINVAL);
  EXPECT_EQ(get(LONG_MIN, LONG_MAX, at_once), -EINVAL);
  EXPECT_EQ(get(0, 0, at_once), 0);
  EXPECT_EQ(get(1, 1, at_once), 0);
}

TEST_P(aio_getevents, a_bad_place_for_events_is_efault_and_takes_nothing) {
  complete(2);
  EXPECT_EQ(get(1, 2, nullptr, at_once), -EFAULT);
  EXPECT_EQ(get(1, 2, kernels_address<io_event>(), at_once), -EFAULT);
  EXPECT_EQ(get(0, 1, nullptr, at_once), -EFAULT);
  EXPECT_EQ(header_at(ctx_).head, 0U);
  EXPECT_EQ(get(2, 2, at_once), 2);
}

TEST_P(aio_getevents, a_bad_place_for_events_is_not_looked_at_when_there_are_none) {
  EXPECT_EQ(get(1, 2, nullptr, at_once), 0);
  EXPECT_EQ(get(1, 2, nullptr, a_moment), 0);
  EXPECT_EQ(getevents(ctx_, 0, 2, nullptr, nullptr), 0);
  EXPECT_EQ(getevents(ctx_, 0, 0, nullptr, nullptr), 0);
}

TEST_P(aio_getevents, gets_no_more_than_fit_and_in_their_order) {
  std::array<iocb_abi, 3> reads;
  const auto bell = kernel_eventfd(0, 0);
  for (auto& read : reads) {
    read = ringing(file_read(), bell.get());
    std::uint64_t rung = 0;
    ASSERT_EQ(submit(ctx_, read), 1);
    ASSERT_EQ(::read(bell.get(), &rung, sizeof rung), 8);
  }
  EXPECT_EQ(get(1, 2, at_once), 2);
  EXPECT_EQ(static_cast<iocb_abi*>(events_[0].obj), &reads[0]);
  EXPECT_EQ(static_cast<iocb_abi*>(events_[1].obj), &reads[1]);
  EXPECT_EQ(get(1, 2, at_once), 1);
  EXPECT_EQ(static_cast<iocb_abi*>(events_[0].obj), &reads[2]);
}

TEST_P(aio_getevents, gets_more_than_min_when_they_are_there) {
  complete(3);
  EXPECT_EQ(getevents(ctx_, 1, 8, events_.data(), nullptr), 3);
}

TEST_P(aio_getevents, min_0_does_not_wait) { EXPECT_EQ(getevents(ctx_, 0, 8, events_.data(), nullptr), 0); }

TEST_P(aio_getevents, a_timeout_of_0_does_not_wait) {
  complete(1);
  EXPECT_EQ(get(2, 8, at_once), 1);
  EXPECT_EQ(get(2, 8, at_once), 0);
}

TEST_P(aio_getevents, when_the_time_is_up_it_returns_what_it_has) {
  EXPECT_EQ(get(2, 8, a_moment), 0);
  complete(1);
  EXPECT_EQ(get(2, 8, a_moment), 1);
}

TEST_P(aio_getevents, waits_as_long_as_it_was_told) {
  using clock = std::chrono::steady_clock;
  const auto before = clock::now();
  EXPECT_EQ(get(1, 1, {.tv_sec = 0, .tv_nsec = 20'000'000}), 0);
  EXPECT_GE(clock::now() - before, std::chrono::milliseconds{20});
}

// Seconds and nanoseconds are added up, whatever their signs.
TEST_P(aio_getevents, the_parts_of_a_timeout_are_added_up) {
  EXPECT_EQ(get(1, 1, {.tv_sec = 1, .tv_nsec = -1'000'000'000}), 0);
  EXPECT_EQ(get(1, 1, {.tv_sec = -1, .tv_nsec = 1'001'000'000}), 0);
  EXPECT_EQ(get(1, 1, {.tv_sec = 1, .tv_nsec = -999'000'000}), 0);
}

TEST_P(aio_getevents, a_longer_time_than_can_be_counted_is_for_ever) {
  fill_pipe();
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_EQ(get(1, 1, {.tv_sec = LONG_MAX, .tv_nsec = 999'999'999}), 1);
}

TEST_P(aio_getevents, a_negative_timeout_never_expires) {
  for (const timespec timeout : {timespec{.tv_sec = -1, .tv_nsec = 0}, timespec{.tv_sec = 0, .tv_nsec = -1},
                                 timespec{.tv_sec = -1000, .tv_nsec = 0}}) {
    iocb_abi poll = poll_of_pipe();
    int got = 0;
    ASSERT_EQ(submit(ctx_, poll), 1);
    asleep waiter{[&] { got = get(1, 1, timeout); }};
    fill_pipe();
    waiter.join();
    EXPECT_EQ(got, 1);
    EXPECT_EQ(::read(pipe_.read.get(), text_.data(), 1), 1);
  }
}

TEST_P(aio_getevents, waits_for_as_many_as_min) {
  doorbell::test::pipe_ends second;
  iocb_abi one = poll_of_pipe();
  iocb_abi two = aio::prep_poll(second.read.get(), POLLIN);
  ASSERT_EQ(submit(ctx_, {&one, &two}), 2);
  int got = 0;
  asleep waiter{[&] { got = getevents(ctx_, 2, 8, events_.data(), nullptr); }};
  fill_pipe();
  EXPECT_TRUE(waiter.still_asleep());
  EXPECT_EQ(::write(second.write.get(), "x", 1), 1);
  waiter.join();
  EXPECT_EQ(got, 2);
}

TEST_P(aio_getevents, is_woken_by_what_was_submitted_while_it_waited) {
  int got = 0;
  asleep waiter{[&] { got = getevents(ctx_, 1, 8, events_.data(), nullptr); }};
  iocb_abi read = file_read();
  ASSERT_EQ(submit(ctx_, read), 1);
  waiter.join();
  EXPECT_EQ(got, 1);
}

}  // namespace
}  // namespace doorbell::test
