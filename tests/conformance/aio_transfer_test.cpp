// SPDX-License-Identifier: Apache-2.0
//
// io_submit: reads and writes. What it refuses, and what comes as the event's result.
#include <sys/epoll.h>
#include <sys/uio.h>

#include <cerrno>
#include <climits>

#include "aio_row.hpp"
#include "support/asleep.hpp"

namespace doorbell::test {
namespace {

constexpr std::int16_t realtime = 1 << 13;
constexpr std::int16_t best_effort = 2 << 13;
constexpr std::int16_t idle = 3 << 13;

class aio_transfer : public aio_row {
 protected:
  int answer_with_priority(std::int16_t priority) {
    iocb_abi request = file_read();
    request.flags = iocb_abi::flag_ioprio;
    request.reqprio = priority;
    return answer_to(ctx_, request);
  }
  int answer_with_rw_flags(std::int32_t flags) {
    iocb_abi request = file_read();
    request.rw_flags = flags;
    return answer_to(ctx_, request);
  }
  template <std::size_t N>
  int answer_with(std::array<iovec, N>& buffers) {
    return answer_to(ctx_, aio::prep_preadv(file_.get(), buffers, 0));
  }

  const aio_context_t ctx_ = new_context();
};
ON_BOTH_SIDES(aio_transfer);

TEST_P(aio_transfer, reads_and_writes_at_an_offset) {
  EXPECT_EQ(result_of(ctx_, aio::prep_pwrite(file_.get(), "WORLD!", 6, 7)), 6);
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(file_.get(), text_.data(), text_.size(), 5)), 8);
  EXPECT_EQ(std::string(text_.data(), 8), ", WORLD!");
}

TEST_P(aio_transfer, reads_and_writes_several_buffers) {
  std::array<iovec, 2> buffers{iovec{text_.data(), 3}, iovec{text_.data() + 10, 4}};
  EXPECT_EQ(result_of(ctx_, aio::prep_preadv(file_.get(), buffers, 0)), 7);
  EXPECT_EQ(std::string(text_.data() + 10, 4), "lo, ");
  EXPECT_EQ(result_of(ctx_, aio::prep_pwritev(file_.get(), buffers, 12)), 7);
  EXPECT_EQ(result_of(ctx_, file_read()), 5);
}

TEST_P(aio_transfer, beyond_the_end_of_a_file_there_is_nothing_to_read) {
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(file_.get(), text_.data(), 5, 4096)), 0);
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(file_.get(), text_.data(), 5, 10)), 2);
}

TEST_P(aio_transfer, priorities_are_checked_when_the_flag_says_that_there_is_one) {
  EXPECT_EQ(answer_with_priority(0), 1);
  EXPECT_EQ(answer_with_priority(best_effort + 4), 1);
  EXPECT_EQ(answer_with_priority(idle), 1);
  EXPECT_EQ(answer_with_priority(1), -EINVAL);
  EXPECT_EQ(answer_with_priority(INT16_MIN), -EINVAL);
  EXPECT_EQ(answer_with_priority(realtime), ::geteuid() == 0 ? 1 : -EPERM);
}

TEST_P(aio_transfer, priorities_are_ignored_without_the_flag) {
  iocb_abi request = file_read();
  request.reqprio = 1;
  EXPECT_EQ(answer_to(ctx_, request), 1);
}

TEST_P(aio_transfer, a_bad_priority_is_told_before_bad_rw_flags) {
  iocb_abi request = file_read();
  request.flags = iocb_abi::flag_ioprio;
  request.reqprio = 1;
  request.rw_flags = 1 << 30;
  EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
}

TEST_P(aio_transfer, unknown_rw_flags_are_eopnotsupp) {
  EXPECT_EQ(answer_with_rw_flags(1 << 30), -EOPNOTSUPP);
  EXPECT_EQ(answer_with_rw_flags(INT_MIN), -EOPNOTSUPP);
}

TEST_P(aio_transfer, known_rw_flags_are_taken) {
  EXPECT_EQ(answer_with_rw_flags(RWF_DSYNC), 1);
  EXPECT_EQ(answer_with_rw_flags(RWF_SYNC), 1);
  EXPECT_EQ(answer_with_rw_flags(RWF_NOWAIT), 1);
  EXPECT_EQ(answer_with_rw_flags(RWF_APPEND), 1);
}

// Oracle: a flag that preadv2(2) accepts for this file is accepted in a request, too.
TEST_P(aio_transfer, rw_flags_of_newer_kernels_are_taken_where_the_kernel_has_them) {
  char byte = 0;
  const iovec buffer{.iov_base = &byte, .iov_len = 1};
  for (const int flag : {0x40, 0x80, 0x100}) {  // RWF_ATOMIC, RWF_DONTCACHE, RWF_NOSIGNAL
    if (::preadv2(file_read().fildes, &buffer, 1, 0, flag) != 1) continue;
    EXPECT_EQ(answer_with_rw_flags(flag), 1) << flag;
  }
}

TEST_P(aio_transfer, nobody_is_asked_to_poll_for_the_end_of_a_transfer) {
  iocb_abi request = file_read();
  request.rw_flags = RWF_HIPRI;
  EXPECT_EQ(result_of(ctx_, request), 5);
}

TEST_P(aio_transfer, appending_and_not_appending_is_einval) {
  constexpr std::int32_t rwf_noappend = 0x20;
  EXPECT_EQ(answer_with_rw_flags(RWF_APPEND | rwf_noappend), -EINVAL);
}

TEST_P(aio_transfer, bad_rw_flags_are_told_before_the_mode) {
  const base::unique_fd write_only{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  iocb_abi request = read_of(write_only.get());
  request.rw_flags = 1 << 30;
  EXPECT_EQ(answer_to(ctx_, request), -EOPNOTSUPP);
}

TEST_P(aio_transfer, a_file_opened_for_the_other_direction_is_ebadf) {
  iocb_abi write = as_write(read_of(pipe_.read.get()));
  EXPECT_EQ(answer_to(ctx_, write), -EBADF);
  iocb_abi read = read_of(pipe_.write.get());
  EXPECT_EQ(answer_to(ctx_, read), -EBADF);
}

TEST_P(aio_transfer, the_mode_is_told_before_a_bad_buffer) {
  iocb_abi read = read_of(pipe_.write.get());
  read.buf = reinterpret_cast<std::uint64_t>(kernels_address<char>());
  EXPECT_EQ(answer_to(ctx_, read), -EBADF);
}

TEST_P(aio_transfer, directories_are_einval) {
  const base::unique_fd directory{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  EXPECT_EQ(answer_to(ctx_, read_of(directory.get())), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, as_write(read_of(directory.get()))), -EBADF);
}

TEST_P(aio_transfer, a_buffer_in_the_kernels_half_is_efault) {
  iocb_abi request = file_read();
  request.buf = reinterpret_cast<std::uint64_t>(kernels_address<char>());
  EXPECT_EQ(answer_to(ctx_, request), -EFAULT);
}

TEST_P(aio_transfer, a_null_buffer_is_the_events_efault) {
  iocb_abi request = file_read();
  request.buf = 0;
  EXPECT_EQ(result_of(ctx_, request), -EFAULT);
  request.nbytes = 0;
  EXPECT_EQ(result_of(ctx_, request), 0);
}

TEST_P(aio_transfer, a_length_that_no_transfer_has_is_cut_and_not_refused) {
  iocb_abi request = file_read();
  request.nbytes = SSIZE_MAX;
  EXPECT_EQ(result_of(ctx_, request), 12);
}

TEST_P(aio_transfer, a_bad_buffer_is_told_before_a_bad_offset) {
  iocb_abi request = file_read();
  request.buf = reinterpret_cast<std::uint64_t>(kernels_address<char>());
  request.offset = -1;
  EXPECT_EQ(answer_to(ctx_, request), -EFAULT);
}

TEST_P(aio_transfer, a_negative_offset_is_einval_and_one_whose_end_wraps_too) {
  iocb_abi request = file_read();
  request.offset = -1;
  EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
  request.offset = LONG_MAX - 3;
  EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, as_write(request)), -EINVAL);
  request.offset = LONG_MAX - 5;
  EXPECT_EQ(result_of(ctx_, request), 0);
}

TEST_P(aio_transfer, a_pipe_has_no_offset_but_a_negative_one_is_einval) {
  fill_pipe();
  iocb_abi request = read_of(pipe_.read.get());
  request.offset = -1;
  EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
  request.offset = 12345;
  EXPECT_EQ(result_of(ctx_, request), 1);
}

TEST_P(aio_transfer, vectors_that_cannot_be_read_are_efault) {
  iocb_abi request = aio::prep_preadv(file_.get(), std::span<const iovec>{}, 0);
  request.nbytes = 1;
  EXPECT_EQ(answer_to(ctx_, request), -EFAULT);
  request.buf = reinterpret_cast<std::uint64_t>(kernels_address<iovec>());
  EXPECT_EQ(answer_to(ctx_, request), -EFAULT);
}

TEST_P(aio_transfer, more_than_1024_vectors_are_einval) {
  std::vector<iovec> buffers(1025, iovec{text_.data(), 1});
  EXPECT_EQ(answer_to(ctx_, aio::prep_preadv(file_.get(), buffers, 0)), -EINVAL);
  buffers.pop_back();
  EXPECT_EQ(result_of(ctx_, aio::prep_preadv(file_.get(), buffers, 0)), 12);
}

TEST_P(aio_transfer, no_vector_transfers_nothing) {
  EXPECT_EQ(result_of(ctx_, aio::prep_preadv(file_.get(), std::span<const iovec>{}, 0)), 0);
}

TEST_P(aio_transfer, vectors_lengths_are_checked_and_then_their_addresses) {
  iovec good{text_.data(), 5};
  iovec long_one{text_.data(), std::size_t{1} << 63};
  iovec nowhere{kernels_address<void>(), 5};
  std::array<iovec, 1> one{long_one};
  EXPECT_EQ(answer_with(one), -EINVAL);
  one = {nowhere};
  EXPECT_EQ(answer_with(one), -EFAULT);
  std::array<iovec, 2> two{nowhere, long_one};
  EXPECT_EQ(answer_with(two), -EINVAL);
  two = {good, nowhere};
  EXPECT_EQ(answer_with(two), -EFAULT);
  two = {good, long_one};
  EXPECT_EQ(answer_with(two), -EINVAL);
}

TEST_P(aio_transfer, the_vectors_array_may_go_once_the_request_is_taken) {
  std::array<iovec, 1> buffers{iovec{text_.data(), 5}};
  iocb_abi request = aio::prep_preadv(file_.get(), buffers, 0);
  ASSERT_EQ(submit(ctx_, request), 1);
  buffers = {};
  EXPECT_EQ(result(ctx_), 5);
}

TEST_P(aio_transfer, what_the_file_refuses_comes_as_the_events_result) {
  iocb_abi past_the_limit = as_write(file_read());
  past_the_limit.offset = LONG_MAX - 5;
  EXPECT_EQ(result_of(ctx_, past_the_limit), -EFBIG);
}

TEST_P(aio_transfer, what_knows_no_reads_is_einval) {
  const base::unique_fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  EXPECT_EQ(answer_to(ctx_, read_of(epoll.get())), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, as_write(read_of(epoll.get()))), -EINVAL);
}

// The kernel wants the asynchronous form of a file's operation, which these do not have.
TEST_P(aio_transfer, beyond_what_write_can_do_a_request_can) {
  const base::unique_fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  const iocb_abi to_full = as_write(read_of(full.get()));
  const auto bell = kernel_eventfd();
  const std::uint64_t count = 3;
  const iocb_abi to_bell = aio::prep_pwrite(bell.get(), &count, sizeof count, 0);
  if (on_kernel()) {
    EXPECT_EQ(answer_to(ctx_, to_full), -EINVAL);
    EXPECT_EQ(answer_to(ctx_, to_bell), -EINVAL);
  } else {
    EXPECT_EQ(result_of(ctx_, to_full), -ENOSPC);
    EXPECT_EQ(result_of(ctx_, to_bell), 8);
    EXPECT_EQ(take(bell.get()), 3U);
  }
}

// The kernel reads inside io_submit.
TEST_P(aio_transfer, beyond_io_submit_does_not_wait_for_a_pipe_to_be_filled) {
  iocb_abi read = read_of(pipe_.read.get());
  int answer = 0;
  if (on_kernel()) {
    asleep submitter{[&] { answer = submit(ctx_, read); }};
    fill_pipe();
    submitter.join();
  } else {
    answer = submit(ctx_, read);
    EXPECT_TRUE(events_there(ctx_).empty());
    fill_pipe();
  }
  EXPECT_EQ(answer, 1);
  EXPECT_EQ(result(ctx_), 1);
}

TEST_P(aio_transfer, an_empty_pipe_that_does_not_block_is_the_events_eagain) {
  ::fcntl(pipe_.read.get(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(result_of(ctx_, read_of(pipe_.read.get())), -EAGAIN);
}

}  // namespace
}  // namespace doorbell::test
