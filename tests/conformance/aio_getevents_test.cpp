// SPDX-License-Identifier: Apache-2.0
//
// io_getevents and io_pgetevents: checks of arguments, the events that they return, and the duration of a wait.
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
  /// Completes `count` requests. Their events are in the ring when this returns.
  void complete(int count) {
    const auto efd = kernel_eventfd(0, EFD_SEMAPHORE);
    iocb_abi read = with_resfd(file_read(), efd.get());
    for (int done = 0; done < count; ++done) {
      std::uint64_t signals = 0;
      ASSERT_EQ(submit(ctx_, read), 1);
      ASSERT_EQ(::read(efd.get(), &signals, sizeof signals), 8);
    }
  }

  static constexpr timespec no_wait{};
  static constexpr timespec a_moment{.tv_sec = 0, .tv_nsec = 1'000'000};

  const aio_context_t ctx_ = new_context();
  std::array<io_event, 8> events_{};
};
ON_BOTH_SIDES(aio_getevents);

TEST_P(aio_getevents, unreadable_timeout_is_efault_before_any_other_check) {
  EXPECT_EQ(getevents(nobody, 1, 0, nullptr, kernels_address<timespec>()), -EFAULT);
  sigset_t mask{};
  const aio::aio_sigset of_wrong_size{&mask, 4};
  EXPECT_EQ(side().pgetevents(nobody, 1, 0, nullptr, kernels_address<timespec>(), &of_wrong_size), -EFAULT);
}

TEST_P(aio_getevents, unreadable_mask_is_efault_and_wrong_mask_size_is_einval) {
  timespec timeout = no_wait;
  sigset_t mask{};
  const auto get_with = [&](aio::aio_sigset set) { return side().pgetevents(nobody, 1, 0, nullptr, &timeout, &set); };
  EXPECT_EQ(side().pgetevents(nobody, 1, 0, nullptr, &timeout, kernels_address<aio::aio_sigset>()), -EFAULT);
  EXPECT_EQ(get_with({&mask, 4}), -EINVAL);
  EXPECT_EQ(get_with({kernels_address<sigset_t>(), 4}), -EINVAL);
  EXPECT_EQ(get_with({kernels_address<sigset_t>(), 8}), -EFAULT);
}

TEST_P(aio_getevents, size_of_a_null_mask_is_ignored) {
  timespec timeout = no_wait;
  const aio::aio_sigset none{nullptr, 4};
  EXPECT_EQ(side().pgetevents(ctx_, 0, 1, events_.data(), &timeout, &none), 0);
  EXPECT_EQ(side().pgetevents(ctx_, 0, 1, events_.data(), &timeout, nullptr), 0);
}

TEST_P(aio_getevents, unknown_context_is_einval) {
  timespec timeout = no_wait;
  for (const auto handle : {aio_context_t{0}, nobody, ~aio_context_t{0}})
    EXPECT_EQ(getevents(handle, 0, 0, nullptr, &timeout), -EINVAL);
}

TEST_P(aio_getevents, nr_may_exceed_the_capacity_of_the_ring_and_of_memory) {
  for (const long nr : {0x7fffffffL, 1L << 43, 1L << 45, 1L << 59, LONG_MAX}) {
    complete(1);
    EXPECT_EQ(get(1, nr, a_moment), 1) << nr;
  }
}

TEST_P(aio_getevents, min_outside_0_to_nr_is_einval) {
  EXPECT_EQ(get(-1, 1, no_wait), -EINVAL);
  EXPECT_EQ(get(2, 1, no_wait), -EINVAL);
  EXPECT_EQ(get(0, -1, no_wait), -EINVAL);
  EXPECT_EQ(get(LONG_MIN, LONG_MAX, no_wait), -EINVAL);
  EXPECT_EQ(get(0, 0, no_wait), 0);
  EXPECT_EQ(get(1, 1, no_wait), 0);
}

TEST_P(aio_getevents, bad_events_pointer_is_efault_and_takes_no_event) {
  complete(2);
  EXPECT_EQ(get(1, 2, nullptr, no_wait), -EFAULT);
  EXPECT_EQ(get(1, 2, kernels_address<io_event>(), no_wait), -EFAULT);
  EXPECT_EQ(get(0, 1, nullptr, no_wait), -EFAULT);
  EXPECT_EQ(header_at(ctx_).head, 0U);
  EXPECT_EQ(get(2, 2, no_wait), 2);
}

TEST_P(aio_getevents, bad_events_pointer_is_efault_when_the_event_comes) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  int answer = 0;
  asleep waiter{[&] { answer = getevents(ctx_, 1, 2, kernels_address<io_event>(), nullptr); }};
  fill_pipe();
  waiter.join();
  EXPECT_EQ(answer, -EFAULT);
  EXPECT_EQ(get(1, 2, no_wait), 1);
}

TEST_P(aio_getevents, bad_events_pointer_is_ignored_if_there_are_no_events) {
  EXPECT_EQ(get(1, 2, nullptr, no_wait), 0);
  EXPECT_EQ(get(1, 2, nullptr, a_moment), 0);
  EXPECT_EQ(getevents(ctx_, 0, 2, nullptr, nullptr), 0);
  EXPECT_EQ(getevents(ctx_, 0, 0, nullptr, nullptr), 0);
}

TEST_P(aio_getevents, returns_at_most_nr_events_in_order_of_completion) {
  std::array<iocb_abi, 3> reads;
  const auto efd = kernel_eventfd(0, 0);
  for (auto& read : reads) {
    read = with_resfd(file_read(), efd.get());
    std::uint64_t signals = 0;
    ASSERT_EQ(submit(ctx_, read), 1);
    ASSERT_EQ(::read(efd.get(), &signals, sizeof signals), 8);
  }
  EXPECT_EQ(get(1, 2, no_wait), 2);
  EXPECT_EQ(static_cast<iocb_abi*>(events_[0].obj), &reads[0]);
  EXPECT_EQ(static_cast<iocb_abi*>(events_[1].obj), &reads[1]);
  EXPECT_EQ(get(1, 2, no_wait), 1);
  EXPECT_EQ(static_cast<iocb_abi*>(events_[0].obj), &reads[2]);
}

TEST_P(aio_getevents, returns_more_than_min_events_if_available) {
  complete(3);
  EXPECT_EQ(getevents(ctx_, 1, 8, events_.data(), nullptr), 3);
}

TEST_P(aio_getevents, min_0_does_not_wait) { EXPECT_EQ(getevents(ctx_, 0, 8, events_.data(), nullptr), 0); }

TEST_P(aio_getevents, a_timeout_of_0_does_not_wait) {
  complete(1);
  EXPECT_EQ(get(2, 8, no_wait), 1);
  EXPECT_EQ(get(2, 8, no_wait), 0);
}

TEST_P(aio_getevents, expired_timeout_returns_the_events_that_are_there) {
  EXPECT_EQ(get(2, 8, a_moment), 0);
  complete(1);
  EXPECT_EQ(get(2, 8, a_moment), 1);
}

TEST_P(aio_getevents, waits_for_the_whole_timeout) {
  using clock = std::chrono::steady_clock;
  const auto before = clock::now();
  EXPECT_EQ(get(1, 1, {.tv_sec = 0, .tv_nsec = 20'000'000}), 0);
  EXPECT_GE(clock::now() - before, std::chrono::milliseconds{20});
}

// The sum of seconds and nanoseconds counts, whatever their signs.
TEST_P(aio_getevents, seconds_and_nanoseconds_of_a_timeout_are_added) {
  EXPECT_EQ(get(1, 1, {.tv_sec = 1, .tv_nsec = -1'000'000'000}), 0);
  EXPECT_EQ(get(1, 1, {.tv_sec = -1, .tv_nsec = 1'001'000'000}), 0);
  EXPECT_EQ(get(1, 1, {.tv_sec = 1, .tv_nsec = -999'000'000}), 0);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(get(1, 1, {.tv_sec = 9'000'000'000, .tv_nsec = -8'999'999'999'999'000'000}), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds{5});
}

// The last two are the longest time in 64 bits of nanoseconds, and one that does not fit into them.
TEST_P(aio_getevents, a_timeout_that_is_negative_or_too_long_never_expires) {
  for (const timespec timeout :
       {timespec{.tv_sec = -1, .tv_nsec = 0}, timespec{.tv_sec = 0, .tv_nsec = -1},
        timespec{.tv_sec = -1000, .tv_nsec = 0}, timespec{.tv_sec = 9'223'372'036, .tv_nsec = 854'775'807},
        timespec{.tv_sec = LONG_MAX, .tv_nsec = 999'999'999}}) {
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

TEST_P(aio_getevents, waits_for_min_events) {
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

TEST_P(aio_getevents, is_woken_by_a_request_submitted_during_the_wait) {
  int got = 0;
  asleep waiter{[&] { got = getevents(ctx_, 1, 8, events_.data(), nullptr); }};
  iocb_abi read = file_read();
  ASSERT_EQ(submit(ctx_, read), 1);
  waiter.join();
  EXPECT_EQ(got, 1);
}

}  // namespace
}  // namespace doorbell::test
