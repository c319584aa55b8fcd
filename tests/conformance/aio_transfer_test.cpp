// SPDX-License-Identifier: Apache-2.0
//
// io_submit: reads and writes. The errors that io_submit returns, and those that are the result in the event.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "aio_row.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"

DOORBELL_TEST_FORKS

namespace doorbell::test {
namespace {

constexpr std::int16_t realtime = 1 << 13;
constexpr std::int16_t best_effort = 2 << 13;
constexpr std::int16_t idle = 3 << 13;

class aio_transfer : public aio_row {
 protected:
  /// Drops CAP_SYS_NICE and CAP_SYS_ADMIN, except those in `kept`.
  static void keep_capabilities(unsigned kept) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> held{};
    EXPECT_EQ(::syscall(SYS_capget, &header, held.data()), 0);
    held[0].effective &= kept | ~(1U << CAP_SYS_NICE | 1U << CAP_SYS_ADMIN);
    EXPECT_EQ(::syscall(SYS_capset, &header, held.data()), 0);
  }
  int answer_with_priority(std::int16_t priority) {
    iocb_abi request = file_read();
    request.flags = iocb_abi::flag_ioprio;
    request.reqprio = priority;
    return answer_to(ctx_, request);
  }
  /// @return whether preadv2(2) refuses flags that exclude each other (Linux 6.9). Then doorbell can detect with it
  /// which files AIO can read.
  [[nodiscard]] bool excluding_flags_are_einval() const {
    char byte = 0;
    const iovec buffer{.iov_base = &byte, .iov_len = 1};
    return ::preadv2(pipe_.read.get(), &buffer, 1, -1, 0x30) < 0 && errno == EINVAL;
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

TEST_P(aio_transfer, read_past_the_end_of_a_file_returns_0_or_the_bytes_before_it) {
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(file_.get(), text_.data(), 5, 4096)), 0);
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(file_.get(), text_.data(), 5, 10)), 2);
}

TEST_P(aio_transfer, priority_is_checked_if_its_flag_is_set) {
  EXPECT_EQ(answer_with_priority(0), 1);
  EXPECT_EQ(answer_with_priority(best_effort + 4), 1);
  EXPECT_EQ(answer_with_priority(idle), 1);
  EXPECT_EQ(answer_with_priority(1), -EINVAL);
  EXPECT_EQ(answer_with_priority(INT16_MIN), -EINVAL);
  EXPECT_EQ(answer_with_priority(realtime), ::geteuid() == 0 ? 1 : -EPERM);
}

TEST_P(aio_transfer, priority_is_ignored_if_its_flag_is_not_set) {
  iocb_abi request = file_read();
  request.reqprio = 1;
  EXPECT_EQ(answer_to(ctx_, request), 1);
}

// Without the capabilities, even root is refused.
TEST_P(aio_transfer, a_realtime_priority_needs_a_capability) {
  const auto has = [](unsigned which) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> held{};
    EXPECT_EQ(::syscall(SYS_capget, &header, held.data()), 0);
    return (held[0].effective & which) != 0;
  };
  constexpr unsigned nice = 1U << CAP_SYS_NICE;
  constexpr unsigned admin = 1U << CAP_SYS_ADMIN;
  for (const unsigned kept : {nice | admin, nice, admin, 0U}) {
    in_child([&] {
      keep_capabilities(kept);
      const auto ctx = new_context();
      iocb_abi request = file_read();
      request.flags = iocb_abi::flag_ioprio;
      request.reqprio = realtime;
      EXPECT_EQ(answer_to(ctx, request), has(nice | admin) ? 1 : -EPERM) << kept;
    });
  }
}

TEST_P(aio_transfer, bad_priority_is_reported_before_bad_rw_flags) {
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

TEST_P(aio_transfer, known_rw_flags_are_accepted) {
  EXPECT_EQ(answer_with_rw_flags(RWF_DSYNC), 1);
  EXPECT_EQ(answer_with_rw_flags(RWF_SYNC), 1);
  EXPECT_EQ(answer_with_rw_flags(RWF_NOWAIT), 1);
  EXPECT_EQ(answer_with_rw_flags(RWF_APPEND), 1);
}

// Oracle: a request with a flag is accepted if preadv2(2) accepts the flag for this file.
TEST_P(aio_transfer, rw_flags_of_newer_kernels_are_accepted_if_the_kernel_has_them) {
  char byte = 0;
  const iovec buffer{.iov_base = &byte, .iov_len = 1};
  for (const int flag : {0x40, 0x80, 0x100}) {  // RWF_ATOMIC, RWF_DONTCACHE, RWF_NOSIGNAL
    if (::preadv2(file_read().fildes, &buffer, 1, 0, flag) != 1) continue;
    EXPECT_EQ(answer_with_rw_flags(flag), 1) << flag;
  }
}

TEST_P(aio_transfer, atomic_reads_and_atomic_writes_of_a_file_without_them_are_eopnotsupp) {
  constexpr std::int32_t rwf_atomic = 0x40;
  EXPECT_EQ(answer_with_rw_flags(rwf_atomic), -EOPNOTSUPP);
  const base::unique_fd in_memory{::memfd_create("doorbell-test", MFD_CLOEXEC)};
  iocb_abi write = as_write(read_of(in_memory.get()));
  write.rw_flags = rwf_atomic;
  EXPECT_EQ(answer_to(ctx_, write), -EOPNOTSUPP);
}

TEST_P(aio_transfer, rwf_hipri_is_accepted) {
  iocb_abi request = file_read();
  request.rw_flags = RWF_HIPRI;
  EXPECT_EQ(result_of(ctx_, request), 5);
}

TEST_P(aio_transfer, rwf_append_with_rwf_noappend_is_einval) {
  constexpr std::int32_t rwf_noappend = 0x20;
  EXPECT_EQ(answer_with_rw_flags(RWF_APPEND | rwf_noappend), -EINVAL);
}

TEST_P(aio_transfer, bad_rw_flags_are_reported_before_a_wrong_open_mode) {
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

TEST_P(aio_transfer, wrong_open_mode_is_reported_before_a_bad_buffer) {
  iocb_abi read = read_of(pipe_.write.get());
  read.buf = reinterpret_cast<std::uint64_t>(kernels_address<char>());
  EXPECT_EQ(answer_to(ctx_, read), -EBADF);
}

TEST_P(aio_transfer, directories_are_einval) {
  const base::unique_fd directory{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  EXPECT_EQ(answer_to(ctx_, read_of(directory.get())), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, as_write(read_of(directory.get()))), -EBADF);
}

TEST_P(aio_transfer, buffer_in_kernel_addresses_is_efault) {
  iocb_abi request = file_read();
  request.buf = reinterpret_cast<std::uint64_t>(kernels_address<char>());
  EXPECT_EQ(answer_to(ctx_, request), -EFAULT);
}

TEST_P(aio_transfer, null_buffer_is_efault_in_the_event) {
  iocb_abi request = file_read();
  request.buf = 0;
  EXPECT_EQ(result_of(ctx_, request), -EFAULT);
  request.nbytes = 0;
  EXPECT_EQ(result_of(ctx_, request), 0);
}

TEST_P(aio_transfer, length_above_the_maximum_is_truncated_and_not_refused) {
  iocb_abi request = file_read();
  request.nbytes = SSIZE_MAX;
  EXPECT_EQ(result_of(ctx_, request), 12);
}

TEST_P(aio_transfer, bad_buffer_is_reported_before_a_bad_offset) {
  iocb_abi request = file_read();
  request.buf = reinterpret_cast<std::uint64_t>(kernels_address<char>());
  request.offset = -1;
  EXPECT_EQ(answer_to(ctx_, request), -EFAULT);
}

TEST_P(aio_transfer, negative_offset_and_overflowing_end_are_einval) {
  iocb_abi request = file_read();
  request.offset = -1;
  EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
  request.offset = LONG_MAX - 3;
  EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, as_write(request)), -EINVAL);
  request.offset = LONG_MAX - 5;
  EXPECT_EQ(result_of(ctx_, request), 0);
}

TEST_P(aio_transfer, offset_of_a_pipe_is_ignored_unless_it_is_negative) {
  fill_pipe();
  iocb_abi request = read_of(pipe_.read.get());
  request.offset = -1;
  EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
  request.offset = 12345;
  EXPECT_EQ(result_of(ctx_, request), 1);
}

TEST_P(aio_transfer, unreadable_vectors_are_efault) {
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

TEST_P(aio_transfer, zero_vectors_transfer_nothing) {
  EXPECT_EQ(result_of(ctx_, aio::prep_preadv(file_.get(), std::span<const iovec>{}, 0)), 0);
}

TEST_P(aio_transfer, the_number_of_vectors_has_32_bits) {
  std::array<iovec, 2> buffers{iovec{text_.data(), 3}, iovec{text_.data() + 3, 2}};
  for (const bool writes : {false, true}) {
    auto request = writes ? aio::prep_pwritev(file_.get(), buffers, 0) : aio::prep_preadv(file_.get(), buffers, 0);
    request.nbytes |= std::uint64_t{1} << 32;
    EXPECT_EQ(result_of(ctx_, request), 5);
    request.nbytes = std::uint64_t{1} << 32;
    EXPECT_EQ(result_of(ctx_, request), 0);
    request.nbytes |= 1025;
    EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
    request.nbytes = std::uint64_t{1} << 63;
    EXPECT_EQ(answer_to(ctx_, request), -EINVAL);
  }
}

TEST_P(aio_transfer, lengths_of_vectors_are_checked_before_their_addresses) {
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

TEST_P(aio_transfer, vector_array_may_be_overwritten_after_submit) {
  std::array<iovec, 1> buffers{iovec{text_.data(), 5}};
  iocb_abi request = aio::prep_preadv(file_.get(), buffers, 0);
  ASSERT_EQ(submit(ctx_, request), 1);
  buffers = {};
  EXPECT_EQ(result(ctx_), 5);
}

TEST_P(aio_transfer, error_of_the_file_is_the_result_in_the_event) {
  iocb_abi past_the_limit = as_write(file_read());
  past_the_limit.offset = LONG_MAX - 5;
  EXPECT_EQ(result_of(ctx_, past_the_limit), -EFBIG);
}

TEST_P(aio_transfer, file_without_reads_is_einval) {
  const base::unique_fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  EXPECT_EQ(answer_to(ctx_, read_of(epoll.get())), -EINVAL);
  EXPECT_EQ(answer_to(ctx_, as_write(read_of(epoll.get()))), -EINVAL);
}

// The kernel's AIO needs the file operations read_iter and write_iter, which these files do not have, though read(2)
// and write(2) work. From Linux 6.9 on doorbell can detect that; on older kernels it executes the requests.
TEST_P(aio_transfer, files_without_read_iter_or_write_iter_are_einval) {
  const base::unique_fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  const iocb_abi to_full = as_write(read_of(full.get()));
  const auto efd = kernel_eventfd();
  const std::uint64_t count = 3;
  const iocb_abi to_eventfd = aio::prep_pwrite(efd.get(), &count, sizeof count, 0);
  const base::unique_fd inotify{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  const iocb_abi from_inotify = read_of(inotify.get());
  if (on_kernel() || excluding_flags_are_einval()) {
    EXPECT_EQ(answer_to(ctx_, to_full), -EINVAL);
    EXPECT_EQ(answer_to(ctx_, to_eventfd), -EINVAL);
    EXPECT_EQ(answer_to(ctx_, from_inotify), -EINVAL);
    EXPECT_EQ(take(efd.get()), 0U);
  } else {
    EXPECT_EQ(result_of(ctx_, to_full), -ENOSPC);
    EXPECT_EQ(result_of(ctx_, to_eventfd), 8);
    EXPECT_EQ(take(efd.get()), 3U);
  }
}

TEST_P(aio_transfer, files_with_read_iter_or_write_iter_are_read_and_written) {
  const base::unique_fd null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  EXPECT_EQ(result_of(ctx_, as_write(read_of(null.get()))), 5);
  const base::unique_fd zero{::open("/dev/zero", O_RDONLY | O_CLOEXEC)};
  EXPECT_EQ(result_of(ctx_, read_of(zero.get())), 5);
  const auto efd = kernel_eventfd(3);
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(efd.get(), text_.data(), 8, 0)), 8);
}

// Oracle: the result of preadv2(2) on the same file.
TEST_P(aio_transfer, rw_flags_that_the_file_does_not_support_are_eopnotsupp) {
  constexpr int dont_cache = 0x80;  // RWF_DONTCACHE
  const base::unique_fd in_memory{::memfd_create("doorbell-test", MFD_CLOEXEC)};
  ASSERT_EQ(::write(in_memory.get(), "12345678", 8), 8);
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets.data()), 0);
  const base::unique_fd socket{sockets[0]};
  const base::unique_fd other_end{sockets[1]};
  const auto expect_answers = [&](int fd, int flags) {
    SCOPED_TRACE(testing::Message{} << std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)) << flags);
    char byte = 0;
    const iovec buffer{.iov_base = &byte, .iov_len = 1};
    const bool is_file = fd != socket.get();
    const bool is_refused = ::preadv2(fd, &buffer, 1, is_file ? 0 : -1, flags) < 0 && errno == EOPNOTSUPP;
    iocb_abi read = read_of(fd);
    read.rw_flags = flags;
    EXPECT_EQ(answer_to(ctx_, read), is_refused ? -EOPNOTSUPP : 1);
    EXPECT_EQ(answer_to(ctx_, as_write(read)), is_refused ? -EOPNOTSUPP : 1);
  };
  for (const int fd : {in_memory.get(), file_.get()})
    for (const int flags : {dont_cache, RWF_NOWAIT, RWF_NOWAIT | dont_cache}) expect_answers(fd, flags);
  expect_answers(socket.get(), dont_cache);
}

TEST_P(aio_transfer, a_write_of_0_bytes_to_a_datagram_socket_sends_an_empty_datagram) {
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  const base::unique_fd sender{sockets[0]};
  const base::unique_fd receiver{sockets[1]};
  const auto received = [&] {
    char byte = 0;
    return ::recv(receiver.get(), &byte, 1, MSG_DONTWAIT);
  };
  EXPECT_EQ(received(), -1);
  EXPECT_EQ(result_of(ctx_, aio::prep_pwrite(sender.get(), text_.data(), 0, 0)), 0);
  EXPECT_EQ(received(), 0);
  std::array<iovec, 2> empty{iovec{text_.data(), 0}, iovec{text_.data(), 0}};
  EXPECT_EQ(result_of(ctx_, aio::prep_pwritev(sender.get(), empty, 0)), 0);
  EXPECT_EQ(received(), 0);
  EXPECT_EQ(received(), -1);
}

// The empty datagram is sent even if the write has to wait for room first.
TEST_P(aio_transfer, beyond_a_write_of_0_bytes_waits_for_room_in_a_datagram_socket) {
  if (on_kernel()) GTEST_SKIP() << "io_submit would wait";
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  const base::unique_fd sender{sockets[0]};
  const base::unique_fd receiver{sockets[1]};
  int sent = 0;
  while (::send(sender.get(), "x", 1, MSG_DONTWAIT) == 1) ++sent;
  iocb_abi write = aio::prep_pwrite(sender.get(), text_.data(), 0, 0);
  ASSERT_EQ(submit(ctx_, write), 1);
  EXPECT_TRUE(events_there(ctx_).empty());
  char byte = 0;
  for (; sent > 0; --sent) EXPECT_EQ(::recv(receiver.get(), &byte, 1, 0), 1);
  EXPECT_EQ(result(ctx_), 0);
  EXPECT_EQ(::recv(receiver.get(), &byte, 1, MSG_DONTWAIT), 0);
}

// On kernels whose AIO cannot read timerfds and signalfds, io_submit fails with the same error, EINVAL.
TEST_P(aio_transfer, read_of_0_bytes_is_passed_to_the_file) {
  sigset_t some;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR1);
  const base::unique_fd efd{::eventfd(3, EFD_CLOEXEC)};
  const base::unique_fd timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
  const base::unique_fd signals{::signalfd(-1, &some, SFD_CLOEXEC)};
  for (const int fd : {efd.get(), timer.get(), signals.get()}) {
    iocb_abi read = aio::prep_pread(fd, text_.data(), 0, 0);
    const int answer = submit(ctx_, read);
    EXPECT_EQ(answer == 1 ? result(ctx_) : answer, -EINVAL);
  }
  EXPECT_EQ(take(efd.get()), 3U);
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  const base::unique_fd socket{sockets[0]};
  const base::unique_fd other_end{sockets[1]};
  for (const int fd : {pipe_.read.get(), socket.get(), file_.get()})
    EXPECT_EQ(result_of(ctx_, aio::prep_pread(fd, text_.data(), 0, 0)), 0);
}

// The event is there when io_submit returns.
TEST_P(aio_transfer, write_to_a_full_nonblocking_file_is_eagain_in_the_event) {
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets.data()), 0);
  const base::unique_fd socket{sockets[0]};
  const base::unique_fd other_end{sockets[1]};
  ::fcntl(pipe_.write.get(), F_SETFL, O_NONBLOCK);
  const std::string some(4096, 'x');
  for (const int fd : {pipe_.write.get(), socket.get()}) {
    while (::write(fd, some.data(), some.size()) > 0) {
    }
    iocb_abi write = aio::prep_pwrite(fd, some.data(), some.size(), 0);
    ASSERT_EQ(submit(ctx_, write), 1);
    const auto events = events_there(ctx_);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].res, -EAGAIN);
  }
}

// The kernel reads the pipe inside io_submit, and so waits there.
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

// The event is there when io_submit returns.
TEST_P(aio_transfer, read_of_an_empty_nonblocking_file_is_eagain_in_the_event) {
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets.data()), 0);
  sigset_t some;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR1);
  ::fcntl(pipe_.read.get(), F_SETFL, O_NONBLOCK);
  const base::unique_fd socket{sockets[0]};
  const base::unique_fd other_end{sockets[1]};
  const base::unique_fd efd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  const base::unique_fd timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
  const base::unique_fd signals{::signalfd(-1, &some, SFD_CLOEXEC | SFD_NONBLOCK)};
  const base::unique_fd master{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)};
  ASSERT_EQ(::unlockpt(master.get()), 0);
  const base::unique_fd terminal{::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)};
  std::array<char, 128> into{};
  for (const int fd :
       {pipe_.read.get(), socket.get(), efd.get(), timer.get(), signals.get(), master.get(), terminal.get()}) {
    SCOPED_TRACE(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)));
    iocb_abi read = aio::prep_pread(fd, into.data(), into.size(), 0);
    ASSERT_EQ(submit(ctx_, read), 1);
    const auto events = events_there(ctx_);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].res, -EAGAIN);
  }
}

}  // namespace
}  // namespace doorbell::test
