// SPDX-License-Identifier: Apache-2.0
//
// O_DIRECT transfers for which the kernel itself signals the program's eventfd, because the program gets all its events
// by calls.
#include <doorbell/aio_calls.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <initializer_list>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "kernel_signal.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"
#include "support/threads.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::base::unique_fd;
using doorbell::test::block_size;
using doorbell::test::blocks;
using doorbell::test::by_handle;
using doorbell::test::kernel_eventfd;
using doorbell::test::kernel_signal;
using doorbell::test::letter_of;
using doorbell::test::ring_magic;
using doorbell::test::take_until;

// Oracle: the eventfd counts each request once, and the call that follows the signal gets the events.
TEST_F(kernel_signal, a_loop_that_gets_events_by_calls_gets_each_when_the_eventfd_is_signalled) {
  const by_handle ctx{blocks};
  std::uint64_t signalled = 0;
  std::size_t got = 0;
  for (std::size_t round = 0; round < 200; ++round) {
    const auto count = round % blocks + 1;
    submit_reads(ctx, count, efd);
    for (std::size_t left = count; left > 0;) {
      ASSERT_TRUE(is_signalled(efd));
      const auto added = doorbell::test::take(efd.get());
      ASSERT_LE(added, left);
      std::array<aio::io_event, blocks> some{};
      timespec none{};
      const int there = aio::io_getevents(ctx.handle(), 0, static_cast<long>(added), some.data(), &none);
      ASSERT_EQ(there, static_cast<int>(added));
      for (const auto& each : std::span{some}.first(added)) ASSERT_EQ(each.res, block_size);
      left -= added;
      signalled += added;
      got += added;
    }
  }
  EXPECT_EQ(signalled, got);
  EXPECT_NE(magic_of(ctx), ring_magic);
  for (std::size_t block = 0; block < blocks; ++block) EXPECT_EQ(memory[block][0], letter_of(block));
}

// Oracle: the waiting thread gets its event long before the periodic check of the reaper, which runs once a second.
TEST_F(kernel_signal, a_sleeper_with_a_signal_mask_gets_events_of_another_threads_requests) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  for (int round = 0; round < 20; ++round) {
    doorbell::test::sleeper asleep;
    int got = 0;
    std::thread waiter{[&] {
      sigset_t none;
      sigemptyset(&none);
      const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
      aio::io_event event{};
      timespec patience{.tv_sec = 20, .tv_nsec = 0};
      asleep.here();
      got = aio::io_pgetevents(ctx.handle(), 1, 1, &event, &patience, &mask);
    }};
    EXPECT_TRUE(asleep.wait_until_asleep());
    const auto began = std::chrono::steady_clock::now();
    submit_reads(ctx, 1, efd);
    waiter.join();
    EXPECT_EQ(got, 1);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds{500});
    EXPECT_EQ(take_until(efd.get(), 1), 1U);
  }
}

TEST_F(kernel_signal, a_sleeper_gets_events_of_another_threads_requests) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  const doorbell::test::pipe_ends pipe;
  aio::iocb_abi endless = aio::prep_poll(pipe.read.get(), POLLIN);
  ASSERT_EQ(ctx.submit({&endless, 1}), 1);
  for (int round = 0; round < 20; ++round) {
    doorbell::test::sleeper asleep;
    std::size_t got = 0;
    std::thread waiter{[&] {
      asleep.here();
      got = ctx.events(1).size();
    }};
    EXPECT_TRUE(asleep.wait_until_asleep());
    const auto began = std::chrono::steady_clock::now();
    submit_reads(ctx, 1, efd);
    waiter.join();
    EXPECT_EQ(got, 1U);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds{500});
    EXPECT_EQ(take_until(efd.get(), 1), 1U);
  }
}

// The kernel ends the io_uring of a destroyed context later, and then interrupts a sleep of the thread that made it.
// The read is so long that the thread sleeps at that time. Oracle: io_getevents does not return EINTR, because no
// signal handler has run.
TEST_F(kernel_signal, the_end_of_another_context_does_not_interrupt_a_sleep) {
  constexpr std::size_t size = std::size_t{32} << 20;
  const auto large = doorbell::test::temporary_file(std::string(size, 'x'));
  ASSERT_EQ(::fsync(large.get()), 0);
  ASSERT_EQ(::fcntl(large.get(), F_SETFL, O_DIRECT), 0);
  const doorbell::test::buffers into{size / block_size};
  const by_handle ctx{blocks};
  for (int round = 0; round < 20; ++round) {
    {
      const by_handle other{blocks};
    }
    auto read = aio::prep_pread(large.get(), into[0], size, 0);
    read.flags = aio::iocb_abi::flag_resfd;
    read.resfd = static_cast<std::uint32_t>(efd.get());
    ASSERT_EQ(ctx.result_of(read), static_cast<std::int64_t>(size)) << "round " << round;
    ASSERT_EQ(take_until(efd.get(), 1), 1U);
  }
}

// Oracle: an eventfd of any kind has the count that it would have with the kernel's own contexts.
TEST_F(kernel_signal, eventfds_of_all_kinds_count_each_request) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  for (const int flags : std::initializer_list<int>{0, EFD_NONBLOCK, EFD_SEMAPHORE, EFD_SEMAPHORE | EFD_NONBLOCK}) {
    const auto other = kernel_eventfd(0, flags);
    submit_reads(ctx, 5, other);
    EXPECT_EQ(ctx.events(5).size(), 5U);
    EXPECT_EQ(take_until(other.get(), 5), 5U);
    EXPECT_FALSE(doorbell::test::readable(other.get()));
  }
}

// Oracle: the count goes to the eventfd that had the number when the request was submitted.
TEST_F(kernel_signal, an_eventfd_that_reuses_the_number_does_not_get_the_count) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  const auto other = kernel_eventfd();
  for (int round = 0; round < 100; ++round) {
    unique_fd number{::fcntl(efd.get(), F_DUPFD_CLOEXEC, 0)};
    submit_reads(ctx, blocks, number);
    ASSERT_EQ(::dup3(other.get(), number.get(), O_CLOEXEC), number.get());
    ASSERT_EQ(ctx.events(blocks).size(), blocks);
    ASSERT_EQ(take_until(efd.get(), blocks), blocks);
  }
  EXPECT_FALSE(doorbell::test::readable(other.get()));
}

// Oracle: io_destroy returns after each request has signalled.
TEST_F(kernel_signal, destroy_waits_for_the_kernels_signals) {
  for (int round = 0; round < 20; ++round) {
    {
      const by_handle ctx{blocks};
      get_many_by_calls(ctx);
      submit_reads(ctx, blocks, efd);
    }
    ASSERT_EQ(doorbell::test::take(efd.get()), blocks);
  }
}

// Oracle: each request has one event, and is counted once.
TEST_F(kernel_signal, threads_that_submit_and_get_concurrently_get_each_event_once) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t rounds = 300;
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  std::atomic<std::size_t> got{0};
  doorbell::test::run_together(threads, [&](std::size_t me) {
    for (std::size_t round = 0; round < rounds; ++round) {
      auto asked = signalling_read(me, efd);
      ASSERT_EQ(ctx.submit({&asked, 1}), 1);
      got += ctx.events(1).size();
    }
  });
  EXPECT_EQ(got.load(), threads * rounds);
  EXPECT_EQ(take_until(efd.get(), threads * rounds), threads * rounds);
}

// Oracle: the eventfd counts each request once, and an unreadable list of buffers has the same result as in the kernel.
TEST_F(kernel_signal, vectored_requests_are_counted_once) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  const std::array parts{iovec{.iov_base = memory[0], .iov_len = block_size},
                         iovec{.iov_base = memory[1], .iov_len = block_size}};
  for (int round = 0; round < 50; ++round) {
    aio::iocb_abi asked = aio::prep_preadv(file.get(), parts, 0);
    asked.flags = aio::iocb_abi::flag_resfd;
    asked.resfd = static_cast<std::uint32_t>(efd.get());
    asked.rw_flags = round % 2 == 0 ? 0 : RWF_HIPRI;  // a request with flags is checked before the kernel gets it
    ASSERT_EQ(ctx.submit({&asked, 1}), 1);
    ASSERT_EQ(ctx.events(1).size(), 1U);
    ASSERT_EQ(take_until(efd.get(), 1), 1U);
    asked.buf = 8;
    ASSERT_EQ(ctx.submit({&asked, 1}), -EFAULT);
  }
  EXPECT_EQ(memory[0][0], letter_of(0));
  EXPECT_EQ(memory[1][0], letter_of(1));
}

// Oracle: the results are those of io_submit(2), although the previous requests for the same numbers needed no check.
TEST_F(kernel_signal, a_number_that_became_another_file_has_the_kernels_result) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  const unique_fd number{::fcntl(file.get(), F_DUPFD_CLOEXEC, 0)};
  const auto ask = [&](int resfd) {
    auto asked = signalling_read(0, efd);
    asked.fildes = number.get();
    asked.resfd = static_cast<std::uint32_t>(resfd);
    return ctx.result_of(asked);
  };
  const auto use_number_for = [&](int other) { ASSERT_EQ(::dup3(other, number.get(), O_CLOEXEC), number.get()); };
  const unique_fd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const unique_fd for_writing{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  const auto cached = doorbell::test::temporary_file("twelve bytes");
  const doorbell::test::pipe_ends pipe;
  ASSERT_EQ(::write(pipe.write.get(), "p", 1), 1);
  ASSERT_EQ(ask(efd.get()), block_size);
  use_number_for(for_writing.get());
  EXPECT_EQ(ask(efd.get()), -EBADF);
  use_number_for(cached.get());
  EXPECT_EQ(ask(efd.get()), 12);
  use_number_for(pipe.read.get());
  EXPECT_EQ(ask(efd.get()), 1);
  use_number_for(file.get());
  EXPECT_EQ(ask(null.get()), -EINVAL);
  EXPECT_EQ(ask(-1), -EBADF);
  EXPECT_EQ(ask(efd.get()), block_size);
  EXPECT_EQ(take_until(efd.get(), 4), 4U);
  EXPECT_FALSE(doorbell::test::readable(efd.get()));
}

// Oracle: io_submit returns the number of requests before the refused one, and those have their events.
TEST_F(kernel_signal, requests_before_a_refused_one_are_started) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  std::vector<aio::iocb_abi> asked;
  for (std::size_t block = 0; block < 5; ++block) asked.push_back(signalling_read(block, efd));
  asked[3].fildes = -1;
  ASSERT_EQ(ctx.submit(asked), 3);
  ASSERT_EQ(ctx.events(3).size(), 3U);
  EXPECT_EQ(take_until(efd.get(), 3), 3U);
  EXPECT_EQ(ctx.submit(std::span{asked}.subspan(3)), -EBADF);
}

// Oracle: each request has its event, and is counted once, also requests for which the kernel's context has no room.
TEST_F(kernel_signal, more_requests_than_the_kernels_context_holds_are_all_counted) {
  constexpr std::size_t many = 2000;
  const by_handle ctx{many};
  get_many_by_calls(ctx);
  std::vector<aio::iocb_abi> asked;
  for (std::size_t n = 0; n < many; ++n) asked.push_back(signalling_read(n % blocks, efd));
  ASSERT_EQ(ctx.submit(asked), static_cast<int>(many));
  const auto all = ctx.events(many);
  ASSERT_EQ(all.size(), many);
  for (const auto& each : all) EXPECT_EQ(each.res, block_size);
  EXPECT_EQ(take_until(efd.get(), many), many);
}

TEST_F(kernel_signal, requests_are_counted_after_the_kernel_begins_to_refuse_them) {
  doorbell::test::in_child([&] {
    const by_handle ctx{blocks};
    get_many_by_calls(ctx);
    doorbell::test::refuse(SYS_io_submit, EPERM);
    submit_reads(ctx, blocks, efd);
    EXPECT_EQ(ctx.events(blocks).size(), blocks);
    EXPECT_EQ(take_until(efd.get(), blocks), blocks);
  });
}

TEST_F(kernel_signal, writes_are_left_to_the_kernel_too) {
  const by_handle ctx{blocks};
  get_many_by_calls(ctx);
  for (std::size_t block = 0; block < blocks; ++block) std::memset(memory[block], 'w', block_size);
  std::vector<aio::iocb_abi> asked;
  for (std::size_t block = 0; block < blocks; ++block) {
    asked.push_back(signalling_read(block, efd));
    asked.back().lio_opcode = static_cast<std::uint16_t>(aio::opcode::pwrite);
  }
  ASSERT_EQ(ctx.submit(asked), static_cast<int>(blocks));
  for (const auto& each : ctx.events(blocks)) EXPECT_EQ(each.res, block_size);
  EXPECT_EQ(take_until(efd.get(), blocks), blocks);
  std::memset(memory[0], 0, block_size);
  EXPECT_EQ(ctx.result_of(read_of(blocks - 1, memory[0])), block_size);
  EXPECT_EQ(memory[0][block_size - 1], 'w');
}

}  // namespace
