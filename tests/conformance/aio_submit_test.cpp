// SPDX-License-Identifier: Apache-2.0
//
// io_submit: checks of its arguments, and the checks of each request that precede those of its operation.
#include <sys/mman.h>

#include <cerrno>
#include <climits>
#include <csignal>

#include "aio_row.hpp"

namespace doorbell::test {
namespace {

constexpr aio_context_t nobody = 0x1000;
constexpr std::uint32_t untouched = 77;

class aio_submit : public aio_row {
 protected:
  const aio_context_t ctx_ = new_context();
};
ON_BOTH_SIDES(aio_submit);

TEST_P(aio_submit, negative_nr_is_einval) {
  EXPECT_EQ(side().submit(ctx_, -1, nullptr), -EINVAL);
  EXPECT_EQ(side().submit(ctx_, LONG_MIN, nullptr), -EINVAL);
}

TEST_P(aio_submit, unknown_context_is_einval_before_requests_are_read) {
  for (const auto handle : {aio_context_t{0}, nobody, ctx_ + 4096, ~aio_context_t{0}}) {
    EXPECT_EQ(side().submit(handle, 1, nullptr), -EINVAL);
    EXPECT_EQ(side().submit(handle, 0, nullptr), -EINVAL);
  }
}

TEST_P(aio_submit, nr_0_returns_0_and_ignores_the_address) { EXPECT_EQ(side().submit(ctx_, 0, nullptr), 0); }

TEST_P(aio_submit, unreadable_requests_are_efault) {
  EXPECT_EQ(side().submit(ctx_, 1, nullptr), -EFAULT);
  EXPECT_EQ(side().submit(ctx_, 1, kernels_address<iocb_abi*>()), -EFAULT);
  EXPECT_EQ(submit(ctx_, {nullptr}), -EFAULT);
  EXPECT_EQ(submit(ctx_, {kernels_address<iocb_abi>()}), -EFAULT);
}

TEST_P(aio_submit, returns_the_number_of_requests_before_the_first_refused_one) {
  iocb_abi good = as_write(file_read());
  iocb_abi bad = file_read();
  bad.lio_opcode = 99;
  EXPECT_EQ(submit(ctx_, {&good, &good, &bad, &good}), 2);
  EXPECT_EQ(events(ctx_, 2).size(), 2U);
  EXPECT_TRUE(events_there(ctx_).empty());
  EXPECT_EQ(submit(ctx_, {&good, nullptr}), 1);
  EXPECT_EQ(result(ctx_), 5);
  EXPECT_EQ(submit(ctx_, {&bad, &good}), -EINVAL);
}

TEST_P(aio_submit, reads_no_more_requests_than_the_ring_holds) {
  iocb_abi write = as_write(file_read());
  std::vector<iocb_abi*> requests(header_at(ctx_).nr, &write);
  const int taken = side().submit(ctx_, LONG_MAX, requests.data());
  EXPECT_GE(taken, 8);
  EXPECT_LT(taken, static_cast<int>(requests.size()));
  EXPECT_EQ(events(ctx_, taken).size(), static_cast<std::size_t>(taken));
}

// All fields of the request are wrong; the test corrects one after the other. The key shows when io_submit sets it:
// after the checks of both descriptors.
TEST_P(aio_submit, checks_fields_in_the_kernels_order) {
  iocb_abi request = file_read();
  request.key = untouched;
  request.reserved2 = 1;
  request.nbytes = std::uint64_t{1} << 63;
  request.fildes = -1;
  request.flags = iocb_abi::flag_resfd;
  request.resfd = 0xffffffff;
  request.lio_opcode = 99;
  EXPECT_EQ(submit(ctx_, request), -EINVAL);
  request.reserved2 = 0;
  EXPECT_EQ(submit(ctx_, request), -EINVAL);
  request.nbytes = 5;
  EXPECT_EQ(submit(ctx_, request), -EBADF);
  request.fildes = file_.get();
  EXPECT_EQ(submit(ctx_, request), -EBADF);
  request.resfd = static_cast<std::uint32_t>(file_.get());
  EXPECT_EQ(submit(ctx_, request), -EINVAL);
  EXPECT_EQ(request.key, untouched);
  const auto efd = kernel_eventfd();
  request.resfd = static_cast<std::uint32_t>(efd.get());
  EXPECT_EQ(submit(ctx_, request), -EINVAL);
  EXPECT_EQ(request.key, 0U);
  request.lio_opcode = 0;
  EXPECT_EQ(answer_to(ctx_, request), 1);
}

TEST_P(aio_submit, missing_slot_is_eagain_after_layout_checks_and_before_descriptor_checks) {
  iocb_abi polls = poll_of_pipe();
  while (submit(ctx_, polls) == 1) {
  }
  iocb_abi request = file_read();
  request.fildes = -1;
  EXPECT_EQ(submit(ctx_, request), -EAGAIN);
  request.reserved2 = 1;
  EXPECT_EQ(submit(ctx_, request), -EINVAL);
  request.reserved2 = 0;
  request.nbytes = std::uint64_t{1} << 63;
  EXPECT_EQ(submit(ctx_, request), -EINVAL);
}

TEST_P(aio_submit, a_refused_request_takes_no_slot) {
  iocb_abi bad = file_read();
  bad.fildes = -1;
  for (unsigned round = 0; round < 2 * header_at(ctx_).nr; ++round) ASSERT_EQ(submit(ctx_, bad), -EBADF);
  EXPECT_EQ(answer_to(ctx_, file_read()), 1);
}

TEST_P(aio_submit, o_path_descriptor_is_ebadf) {
  const base::unique_fd path{::open("/", O_PATH | O_CLOEXEC)};
  EXPECT_EQ(answer_to(ctx_, read_of(path.get())), -EBADF);
}

TEST_P(aio_submit, key_is_set_to_0) {
  iocb_abi request = file_read();
  request.key = untouched;
  EXPECT_EQ(submit(ctx_, request), 1);
  EXPECT_EQ(request.key, 0U);
  events(ctx_, 1);
}

TEST_P(aio_submit, unknown_opcodes_are_einval) {
  for (const unsigned opcode : {4U, 6U, 9U, 99U, 0xffffU}) {
    iocb_abi request = file_read();
    request.lio_opcode = static_cast<std::uint16_t>(opcode);
    EXPECT_EQ(answer_to(ctx_, request), -EINVAL) << opcode;
  }
}

TEST_P(aio_submit, unknown_flags_are_ignored) {
  iocb_abi request = file_read();
  request.flags = ~(iocb_abi::flag_resfd | iocb_abi::flag_ioprio);
  EXPECT_EQ(answer_to(ctx_, request), 1);
}

TEST_P(aio_submit, beyond_errno_is_not_changed) {
  iocb_abi request = file_read();
  request.fildes = -1;
  errno = 0;
  EXPECT_EQ(submit(ctx_, request), -EBADF);
  EXPECT_EQ(errno, side().is_by_number() ? EBADF : 0);
}

TEST_P(aio_submit, event_has_the_data_and_the_address_of_the_request) {
  iocb_abi request = file_read();
  request.data = &request.nbytes;
  EXPECT_EQ(submit(ctx_, request), 1);
  const auto event = events(ctx_, 1).front();
  EXPECT_EQ(event.data, &request.nbytes);
  EXPECT_EQ(static_cast<iocb_abi*>(event.obj), &request);
  EXPECT_EQ(event.res, 5);
  EXPECT_EQ(event.res2, 0);
}

TEST_P(aio_submit, request_may_be_overwritten_after_submit) {
  iocb_abi request = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, request), 1);
  request = {};
  fill_pipe();
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
}

TEST_P(aio_submit, descriptors_may_be_closed_after_submit) {
  auto efd = kernel_eventfd(0, 0);
  const base::unique_fd same_eventfd{::dup(efd.get())};
  iocb_abi request = with_resfd(poll_of_pipe(), efd.get());
  ASSERT_EQ(submit(ctx_, request), 1);
  pipe_.read = base::unique_fd{::dup(pipe_.read.get())};
  efd.reset();
  fill_pipe();
  std::uint64_t count = 0;
  EXPECT_EQ(::read(same_eventfd.get(), &count, sizeof count), 8);
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
}

}  // namespace
}  // namespace doorbell::test
