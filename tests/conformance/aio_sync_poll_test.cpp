// SPDX-License-Identifier: Apache-2.0
//
// io_submit: fsync, fdsync and poll.
#include <sys/socket.h>

#include <cerrno>

#include "aio_row.hpp"

namespace doorbell::test {
namespace {

class aio_sync : public aio_row {
 protected:
  const aio_context_t ctx_ = new_context();
};
ON_BOTH_SIDES(aio_sync);

TEST_P(aio_sync, of_files_and_directories_returns_0) {
  EXPECT_EQ(result_of(ctx_, aio::prep_fsync(file_.get())), 0);
  EXPECT_EQ(result_of(ctx_, aio::prep_fdsync(file_.get())), 0);
  const base::unique_fd directory{::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  EXPECT_EQ(result_of(ctx_, aio::prep_fsync(directory.get())), 0);
}

TEST_P(aio_sync, with_nonzero_unused_fields_is_einval) {
  for (const auto& good : {aio::prep_fsync(file_.get()), aio::prep_fdsync(file_.get())}) {
    iocb_abi bad = good;
    bad.buf = 1;
    EXPECT_EQ(answer_to(ctx_, bad), -EINVAL);
    bad = good;
    bad.nbytes = 1;
    EXPECT_EQ(answer_to(ctx_, bad), -EINVAL);
    bad = good;
    bad.offset = 1;
    EXPECT_EQ(answer_to(ctx_, bad), -EINVAL);
    bad = good;
    bad.rw_flags = RWF_SYNC;
    EXPECT_EQ(answer_to(ctx_, bad), -EINVAL);
  }
}

TEST_P(aio_sync, ignores_the_priority) {
  iocb_abi request = aio::prep_fsync(file_.get());
  request.flags = iocb_abi::flag_ioprio;
  request.reqprio = 1;
  EXPECT_EQ(result_of(ctx_, request), 0);
}

TEST_P(aio_sync, of_files_without_fsync_is_einval) {
  EXPECT_EQ(answer_to(ctx_, aio::prep_fsync(pipe_.read.get())), -EINVAL);
  const auto efd = kernel_eventfd();
  EXPECT_EQ(answer_to(ctx_, aio::prep_fsync(efd.get())), -EINVAL);
  const base::unique_fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  EXPECT_EQ(answer_to(ctx_, aio::prep_fdsync(null.get())), -EINVAL);
  const base::unique_fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  EXPECT_EQ(answer_to(ctx_, aio::prep_fsync(socket.get())), -EINVAL);
}

class aio_poll : public aio_row {
 protected:
  const aio_context_t ctx_ = new_context();
};
ON_BOTH_SIDES(aio_poll);

TEST_P(aio_poll, completes_with_the_ready_events) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_TRUE(events_there(ctx_).empty());
  fill_pipe();
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
}

TEST_P(aio_poll, of_a_ready_file_completes_before_submit_returns) {
  fill_pipe();
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  const auto events = events_there(ctx_);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].res, POLLIN);
  // A program that reads the ring itself finds each event there.
  for (unsigned tail = header_at(ctx_).tail, n = 1; n <= 20; ++n) {
    ASSERT_EQ(submit(ctx_, poll), 1);
    ASSERT_EQ(header_at(ctx_).tail, tail + n);
  }
  EXPECT_EQ(events_there(ctx_).size(), 20U);
  EXPECT_EQ(result_of(ctx_, poll_of_pipe()), POLLIN);
  EXPECT_EQ(result_of(ctx_, poll_of_pipe(POLLIN | POLLRDNORM | POLLOUT)), POLLIN | POLLRDNORM);
}

// The kernel reports POLLRDNORM, too, if the wakeup names it, but not if the pipe is ready when the poll is submitted.
TEST_P(aio_poll, beyond_result_has_requested_events_only) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  fill_pipe();
  EXPECT_EQ(result(ctx_), beyond(POLLIN | POLLRDNORM, POLLIN));
}

// A send to a socket wakes waiters for urgent data, too, and the kernel completes the poll for that wakeup.
TEST_P(aio_poll, beyond_does_not_complete_for_an_event_that_is_not_ready) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const base::unique_fd receiver{ends[0]};
  const base::unique_fd sender{ends[1]};
  iocb_abi poll = aio::prep_poll(receiver.get(), POLLPRI);
  ASSERT_EQ(submit(ctx_, poll), 1);
  ASSERT_EQ(::write(sender.get(), "x", 1), 1);
  if (on_kernel())
    EXPECT_TRUE(result(ctx_) & POLLPRI);
  else
    EXPECT_TRUE(events_there(ctx_).empty());
}

TEST_P(aio_poll, completes_once) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  fill_pipe();
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
  fill_pipe();
  EXPECT_TRUE(events_there(ctx_).empty());
}

TEST_P(aio_poll, reports_hangups_and_errors_that_were_not_requested) {
  iocb_abi poll = poll_of_pipe(0);
  ASSERT_EQ(submit(ctx_, poll), 1);
  fill_pipe();
  EXPECT_TRUE(events_there(ctx_).empty());
  pipe_.write.reset();
  EXPECT_EQ(result(ctx_), POLLHUP);

  const doorbell::test::pipe_ends unread;
  iocb_abi writable = aio::prep_poll(unread.write.get(), POLLIN);
  ASSERT_EQ(submit(ctx_, writable), 1);
  const_cast<base::unique_fd&>(unread.read).reset();
  EXPECT_EQ(result(ctx_), POLLERR);
}

TEST_P(aio_poll, of_a_regular_file_completes_immediately) {
  EXPECT_EQ(result_of(ctx_, aio::prep_poll(file_.get(), POLLIN)), POLLIN);
  EXPECT_EQ(result_of(ctx_, aio::prep_poll(file_.get(), POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)),
            POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

TEST_P(aio_poll, of_a_regular_file_for_events_that_it_never_has_is_einval) {
  EXPECT_EQ(answer_to(ctx_, aio::prep_poll(file_.get(), POLLPRI)), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, aio::prep_poll(file_.get(), 0)), -EINVAL);
}

TEST_P(aio_poll, with_more_than_16_bits_of_events_is_einval) {
  iocb_abi poll = poll_of_pipe();
  poll.buf = 0x10000 | POLLIN;
  EXPECT_EQ(answer_to(ctx_, poll), -EINVAL);
}

TEST_P(aio_poll, with_nonzero_unused_fields_is_einval) {
  const iocb_abi good = poll_of_pipe();
  iocb_abi bad = good;
  bad.nbytes = 1;
  EXPECT_EQ(answer_to(ctx_, bad), -EINVAL);
  bad = good;
  bad.offset = 1;
  EXPECT_EQ(answer_to(ctx_, bad), -EINVAL);
  bad = good;
  bad.rw_flags = RWF_NOWAIT;
  EXPECT_EQ(answer_to(ctx_, bad), -EINVAL);
}

TEST_P(aio_poll, of_a_descriptor_opened_for_the_other_direction_is_accepted) {
  EXPECT_EQ(result_of(ctx_, aio::prep_poll(pipe_.write.get(), POLLOUT | POLLIN)), POLLOUT);
}

TEST_P(aio_poll, several_polls_of_one_descriptor_all_complete) {
  std::array<iocb_abi, 4> polls;
  for (auto& poll : polls) {
    poll = poll_of_pipe();
    ASSERT_EQ(submit(ctx_, poll), 1);
  }
  fill_pipe();
  for (const auto& event : events(ctx_, 4)) EXPECT_EQ(event.res & POLLIN, POLLIN);
}

}  // namespace
}  // namespace doorbell::test
