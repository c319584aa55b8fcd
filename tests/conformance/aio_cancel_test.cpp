// SPDX-License-Identifier: Apache-2.0
//
// io_cancel. It returns -EINPROGRESS on success, and the event of the cancelled request arrives through the ring.
#include <cerrno>

#include "aio_row.hpp"

namespace doorbell::test {
namespace {

class aio_cancel : public aio_row {
 protected:
  int cancel(iocb_abi& request) { return side().cancel(ctx_, &request, nullptr); }

  const aio_context_t ctx_ = new_context();
};
ON_BOTH_SIDES(aio_cancel);

TEST_P(aio_cancel, unreadable_request_is_efault_before_any_other_check) {
  EXPECT_EQ(side().cancel(0, nullptr, nullptr), -EFAULT);
  EXPECT_EQ(side().cancel(ctx_, kernels_address<iocb_abi>(), nullptr), -EFAULT);
}

TEST_P(aio_cancel, nonzero_key_is_einval) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  poll.key = 1;
  EXPECT_EQ(cancel(poll), -EINVAL);
  poll.key = 0;
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
}

TEST_P(aio_cancel, unknown_context_is_einval) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_EQ(side().cancel(0, &poll, nullptr), -EINVAL);
  EXPECT_EQ(side().cancel(new_context(), &poll, nullptr), -EINVAL);
}

TEST_P(aio_cancel, request_not_in_flight_is_einval) {
  iocb_abi request = file_read();
  EXPECT_EQ(cancel(request), -EINVAL);
  ASSERT_EQ(submit(ctx_, request), 1);
  EXPECT_EQ(result(ctx_), 5);
  EXPECT_EQ(cancel(request), -EINVAL);
}

TEST_P(aio_cancel, poll_completes_with_result_0_through_the_ring) {
  iocb_abi poll = poll_of_pipe();
  poll.data = &text_;
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
  const auto event = events(ctx_, 1).front();
  EXPECT_EQ(event.res, 0);
  EXPECT_EQ(event.res2, 0);
  EXPECT_EQ(event.data, &text_);
  EXPECT_EQ(static_cast<iocb_abi*>(event.obj), &poll);
}

TEST_P(aio_cancel, result_pointer_is_ignored) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_EQ(side().cancel(ctx_, &poll, kernels_address<io_event>()), -EINPROGRESS);
  EXPECT_EQ(result(ctx_), 0);
}

TEST_P(aio_cancel, second_cancel_of_a_request_is_einval) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
  EXPECT_EQ(cancel(poll), -EINVAL);
  EXPECT_EQ(result(ctx_), 0);
  EXPECT_EQ(cancel(poll), -EINVAL);
  EXPECT_TRUE(events_there(ctx_).empty());
}

TEST_P(aio_cancel, each_call_cancels_one_of_two_requests_of_one_iocb) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, {&poll, &poll}), 2);
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
  EXPECT_EQ(result(ctx_), 0);
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
  EXPECT_EQ(result(ctx_), 0);
  EXPECT_EQ(cancel(poll), -EINVAL);
}

TEST_P(aio_cancel, two_calls_cancel_both_requests_of_one_iocb) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, {&poll, &poll}), 2);
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
  EXPECT_EQ(cancel(poll), -EINVAL);
  events(ctx_, 2);
}

TEST_P(aio_cancel, other_requests_stay_in_flight) {
  iocb_abi stays = poll_of_pipe();
  iocb_abi goes = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, {&stays, &goes}), 2);
  EXPECT_EQ(cancel(goes), -EINPROGRESS);
  EXPECT_EQ(static_cast<iocb_abi*>(events(ctx_, 1).front().obj), &goes);
  EXPECT_TRUE(events_there(ctx_).empty());
  fill_pipe();
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
}

TEST_P(aio_cancel, cancelled_request_signals_its_eventfd) {
  const auto efd = kernel_eventfd(0, 0);
  iocb_abi poll = with_resfd(poll_of_pipe(), efd.get());
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_EQ(cancel(poll), -EINPROGRESS);
  std::uint64_t signals = 0;
  EXPECT_EQ(::read(efd.get(), &signals, sizeof signals), 8);
  EXPECT_EQ(signals, 1U);
}

TEST_P(aio_cancel, slot_is_free_once_the_event_of_the_cancelled_request_is_fetched) {
  iocb_abi poll = poll_of_pipe();
  for (unsigned round = 0; round < 2 * header_at(ctx_).nr; ++round) {
    ASSERT_EQ(submit(ctx_, poll), 1);
    ASSERT_EQ(cancel(poll), -EINPROGRESS);
    ASSERT_EQ(result(ctx_), 0);
  }
}

// The kernel's io_submit would wait for the pipe, and its io_cancel cancels polls only.
TEST_P(aio_cancel, beyond_a_read_of_an_empty_pipe_is_cancelled) {
  if (on_kernel()) GTEST_SKIP() << "the kernel's io_submit waits for the pipe";
  iocb_abi read = read_of(pipe_.read.get());
  ASSERT_EQ(submit(ctx_, read), 1);
  EXPECT_EQ(cancel(read), -EINPROGRESS);
  EXPECT_EQ(result(ctx_), -ECANCELED);
}

}  // namespace
}  // namespace doorbell::test
