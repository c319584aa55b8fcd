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

TEST_P(aio_sync, of_files_and_directories_answers_0) {
  EXPECT_EQ(result_of(ctx_, aio::prep_fsync(file_.get())), 0);
  EXPECT_EQ(result_of(ctx_, aio::prep_fdsync(file_.get())), 0);
  const base::unique_fd directory{::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  EXPECT_EQ(result_of(ctx_, aio::prep_fsync(directory.get())), 0);
}

TEST_P(aio_sync, whose_unused_fields_are_not_0_is_einval) {
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

TEST_P(aio_sync, does_not_look_at_the_priority) {
  iocb_abi request = aio::prep_fsync(file_.get());
  request.flags = iocb_abi::flag_ioprio;
  request.reqprio = 1;
  EXPECT_EQ(result_of(ctx_, request), 0);
}

TEST_P(aio_sync, of_what_cannot_be_synced_is_einval) {
  EXPECT_EQ(answer_to(ctx_, aio::prep_fsync(pipe_.read.get())), -EINVAL);
  const auto bell = kernel_eventfd();
  EXPECT_EQ(answer_to(ctx_, aio::prep_fsync(bell.get())), -EINVAL);
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

TEST_P(aio_poll, answers_with_the_mask_once_there_is_something) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  EXPECT_TRUE(events_there(ctx_).empty());
  fill_pipe();
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
}

TEST_P(aio_poll, answers_before_submit_returns_when_it_is_there_already) {
  fill_pipe();
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  const auto events = events_there(ctx_);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].res, POLLIN);
  EXPECT_EQ(result_of(ctx_, poll_of_pipe()), POLLIN);
  EXPECT_EQ(result_of(ctx_, poll_of_pipe(POLLIN | POLLRDNORM | POLLOUT)), POLLIN | POLLRDNORM);
}

// The kernel tells of POLLRDNORM, too, if woken for it, though not if it was there already.
TEST_P(aio_poll, beyond_answers_with_nothing_that_was_not_asked_for) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  fill_pipe();
  EXPECT_EQ(result(ctx_), beyond(POLLIN | POLLRDNORM, POLLIN));
}

// Who sends to a socket wakes those who wait for urgent data, too. The kernel takes that for an answer.
TEST_P(aio_poll, beyond_answers_with_nothing_that_is_not_there) {
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

TEST_P(aio_poll, happens_once) {
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(ctx_, poll), 1);
  fill_pipe();
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
  fill_pipe();
  EXPECT_TRUE(events_there(ctx_).empty());
}

TEST_P(aio_poll, tells_of_hangups_and_errors_unasked) {
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

TEST_P(aio_poll, of_a_regular_file_completes_at_once) {
  EXPECT_EQ(result_of(ctx_, aio::prep_poll(file_.get(), POLLIN)), POLLIN);
  EXPECT_EQ(result_of(ctx_, aio::prep_poll(file_.get(), POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)),
            POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

TEST_P(aio_poll, of_a_regular_file_for_what_it_never_has_is_einval) {
  EXPECT_EQ(answer_to(ctx_, aio::prep_poll(file_.get(), POLLPRI)), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, aio::prep_poll(file_.get(), 0)), -EINVAL);
}

TEST_P(aio_poll, whose_events_have_more_than_16_bits_is_einval) {
  iocb_abi poll = poll_of_pipe();
  poll.buf = 0x10000 | POLLIN;
  EXPECT_EQ(answer_to(ctx_, poll), -EINVAL);
}

TEST_P(aio_poll, whose_unused_fields_are_not_0_is_einval) {
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

TEST_P(aio_poll, of_a_descriptor_opened_for_the_other_direction_is_as_good_as_any) {
  EXPECT_EQ(result_of(ctx_, aio::prep_poll(pipe_.write.get(), POLLOUT | POLLIN)), POLLOUT);
}

TEST_P(aio_poll, several_of_one_descriptor_all_answer) {
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
