// SPDX-License-Identifier: Apache-2.0
//
// Eventfds of the kernel that requests signal (resfd). A request names its eventfd by a number, which the program may
// close and reuse for another file.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <limits>
#include <string>

#include "aio_row.hpp"
#include "support/by_engine.hpp"
#include "support/eventually.hpp"
#include "support/file_kinds.hpp"
#include "support/race.hpp"

namespace doorbell::test {
namespace {

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max() - 1;

class aio_resfd : public aio_row {
 protected:
  /// @return a poll that stays in flight until the pipe is filled.
  iocb_abi signalling_poll() { return with_resfd(poll_of_pipe(), efd_.get()); }
  iocb_abi signalling_read() { return with_resfd(file_read(), efd_.get()); }
  void use_number_for(const unique_fd& other) { ASSERT_EQ(::dup3(other.get(), efd_.get(), O_CLOEXEC), efd_.get()); }

  static bool add(const unique_fd& efd, std::uint64_t n) { return ::write(efd.get(), &n, sizeof n) == sizeof n; }
  static bool becomes_readable(const unique_fd& efd) {
    pollfd readable{.fd = efd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&readable, 1, 20'000) == 1;
  }
  /// @return whether the eventfd reaches its highest count, for which poll(2) reports POLLERR.
  static bool overflows(const unique_fd& efd) {
    return eventually([&] { return (polled(efd.get()) & POLLERR) != 0; });
  }
  static std::uint64_t next_count(const unique_fd& efd) { return becomes_readable(efd) ? take(efd.get()) : 0; }

  unique_fd efd_ = kernel_eventfd();
  const aio_context_t ctx_ = new_context();
};
ON_BOTH_SIDES(aio_resfd);

TEST_P(aio_resfd, file_at_a_reused_number_gets_nothing_and_the_eventfd_gets_its_signal) {
  const unique_fd kept{::fcntl(efd_.get(), F_DUPFD_CLOEXEC, 0)};
  const auto file = temporary_file("untouched");
  iocb_abi poll = signalling_poll();
  ASSERT_EQ(submit(ctx_, poll), 1);
  use_number_for(file);
  fill_pipe();
  EXPECT_EQ(next_count(kept), 1U);
  EXPECT_EQ(::lseek(efd_.get(), 0, SEEK_CUR), 0);
  EXPECT_EQ(::pread(file.get(), text_.data(), text_.size(), 0), 9);
}

TEST_P(aio_resfd, another_eventfd_at_the_number_is_signalled_by_later_requests_only) {
  const unique_fd kept{::fcntl(efd_.get(), F_DUPFD_CLOEXEC, 0)};
  const auto other = kernel_eventfd();
  iocb_abi poll = signalling_poll();
  iocb_abi read = signalling_read();
  ASSERT_EQ(submit(ctx_, {&read, &poll}), 2);
  use_number_for(other);
  ASSERT_EQ(submit(ctx_, read), 1);
  EXPECT_EQ(next_count(other), 1U);
  EXPECT_EQ(next_count(kept), 1U);
  fill_pipe();
  EXPECT_EQ(next_count(kept), 1U);
  EXPECT_EQ(take(other.get()), 0U);
}

TEST_P(aio_resfd, number_of_an_eventfd_reused_for_a_file_is_einval) {
  iocb_abi read = signalling_read();
  ASSERT_EQ(submit(ctx_, read), 1);
  use_number_for(file_);
  EXPECT_EQ(submit(ctx_, read), -EINVAL);
  efd_.reset();
  EXPECT_EQ(submit(ctx_, read), -EBADF);
}

TEST_P(aio_resfd, each_other_kind_of_file_is_einval_and_o_path_is_ebadf) {
  const other_files others;
  for (const auto& [name, fd] : others.all()) {
    iocb_abi read = with_resfd(file_read(), fd.get());
    EXPECT_EQ(submit(ctx_, read), -EINVAL) << name;
  }
  const unique_fd path{::open("/", O_PATH | O_CLOEXEC)};
  iocb_abi read = with_resfd(file_read(), path.get());
  EXPECT_EQ(submit(ctx_, read), -EBADF);
}

TEST_P(aio_resfd, eventfds_in_each_state_are_accepted) {
  for (const auto& [name, fd] : eventfds()) {
    iocb_abi poll = with_resfd(poll_of_pipe(), fd.get());
    ASSERT_EQ(submit(ctx_, poll), 1) << name;
    fill_pipe();
    EXPECT_EQ(result(ctx_, POLLIN), POLLIN) << name;
    EXPECT_TRUE(becomes_readable(fd)) << name;
    char byte = 0;
    ASSERT_EQ(::read(pipe_.read.get(), &byte, 1), 1);
  }
}

TEST_P(aio_resfd, request_completes_though_its_eventfd_was_closed) {
  iocb_abi poll = signalling_poll();
  ASSERT_EQ(submit(ctx_, poll), 1);
  efd_.reset();
  fill_pipe();
  EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
}

// Signals beyond the highest count are lost.
TEST_P(aio_resfd, a_full_eventfd_stops_at_the_highest_count) {
  for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)}) {
    efd_ = kernel_eventfd(0, flags);
    ASSERT_TRUE(add(efd_, most - 1));
    iocb_abi read = signalling_read();
    ASSERT_EQ(submit(ctx_, {&read, &read, &read}), 3);
    EXPECT_EQ(events(ctx_, 3).size(), 3U);
    EXPECT_TRUE(overflows(efd_));
    EXPECT_EQ(take(efd_.get()), most + 1);
  }
}

// Oracle: the file stays empty. A write to it, instead of to the eventfd that had its number, would move its end.
TEST_P(aio_resfd, file_that_reuses_the_number_of_an_eventfd_is_not_written_to) {
  const auto file = temporary_file();
  const int number = efd_.release();
  std::uint64_t signals = 0;
  std::uint64_t submitted = 0;
  budget rounds{20'000, std::chrono::seconds{5}};
  while (rounds.next()) {
    const auto efd = kernel_eventfd();
    ASSERT_EQ(::dup3(efd.get(), number, O_CLOEXEC), number);
    iocb_abi request = with_resfd(file_read(), number);
    if (submitted % 2 == 1) request = by_engine(request);
    ASSERT_EQ(submit(ctx_, request), 1);
    ++submitted;
    ASSERT_EQ(::dup3(file.get(), number, O_CLOEXEC), number);
    result(ctx_);
    signals += next_count(efd);
    read_into_.clear();
  }
  EXPECT_EQ(signals, submitted);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), 0);
  RecordProperty("rounds", std::to_string(submitted));
  ::close(number);
}

}  // namespace
}  // namespace doorbell::test
