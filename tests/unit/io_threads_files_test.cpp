// SPDX-License-Identifier: Apache-2.0
//
// The descriptors of the I/O threads, which carry out requests for files: which files the I/O threads have open, and
// how they continue when the program closes or replaces their descriptors, or when the process gets no more threads or
// descriptors.
#include <doorbell/aio.hpp>
#include <doorbell/base/private_fd.hpp>
#include <doorbell/eventfd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#include "../../aio/engine/threads/io_threads.hpp"
#include "file_answers.hpp"
#include "support/blocks.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::block;
using doorbell::test::blocks_of;
using doorbell::test::events_of;
using doorbell::test::in_child;
using doorbell::test::pipe_ends;
using doorbell::test::size_of;
using doorbell::test::temporary_file;
using doorbell::test::unique_fd;

aio::file_pins& pins_of_process() {
  std::error_code ec;
  return aio::io_threads::process(ec)->pins;
}

TEST(files_of_the_io_threads, requests_in_flight_for_one_file_share_one_descriptor) {
  aio::context ctx{256, aio::engine_kind::threads};
  const auto file = temporary_file();
  const auto bytes = blocks_of('x');
  std::vector<aio::iocb> writes;
  std::vector<aio::iocb*> asked;
  for (std::size_t n = 0; n < 200; ++n)
    writes.push_back(aio::prep_pwrite(file.get(), bytes.get(), block, static_cast<off_t>(n * block)));
  for (auto& each : writes) asked.push_back(&each);
  ASSERT_EQ(ctx.submit(asked), writes.size());
  EXPECT_LE(pins_of_process().size(), 1U);
  events_of(ctx, writes.size());
  EXPECT_TRUE(doorbell::test::eventually([] { return pins_of_process().size() == 0; }));
}

// Oracle: every request completes, before and after the program has closed the I/O threads' descriptors.
TEST(files_of_the_io_threads, new_io_threads_serve_a_program_that_closes_all_descriptors) {
  in_child([] {
    aio::context ctx{64, aio::engine_kind::threads};
    std::array<char, 8> text{};
    const auto sync_file = [&] {
      const auto file = temporary_file("hello");
      auto sync = aio::prep_fsync(file.get());
      ASSERT_EQ(ctx.submit({&sync}), 1U);
      EXPECT_EQ(events_of(ctx, 1)[0].res, 0);
    };
    sync_file();
    pipe_ends pipe;
    auto waits = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
    ASSERT_EQ(ctx.submit({&waits}), 1U);
    const int writer = ::fcntl(pipe.write.get(), F_DUPFD_CLOEXEC, 0);
    ASSERT_EQ(::syscall(SYS_dup3, writer, 3, O_CLOEXEC), writer == 3 ? -1 : 3);
    std::ignore = pipe.read.release();
    std::ignore = pipe.write.release();
    ASSERT_EQ(::syscall(SYS_close_range, 4, ~0U, 0), 0);
    sync_file();
    ASSERT_EQ(::write(3, "x", 1), 1);
    EXPECT_EQ(events_of(ctx, 1)[0].res, 1);
    sync_file();
  });
}

// Oracle: each request completes, the process has replaced its I/O threads once, and the file that now has the number
// of the wakeup descriptor of the first set of I/O threads stays empty.
TEST(files_of_the_io_threads, new_io_threads_serve_a_program_that_replaces_the_wakeup_descriptor) {
  in_child([] {
    aio::context ctx{64, aio::engine_kind::threads};
    char text = 0;
    const pipe_ends pipe;
    const auto read_pipe = [&] {
      auto read = aio::prep_pread(pipe.read.get(), &text, 1, 0);
      ASSERT_EQ(ctx.submit({&read}), 1U);
      ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
      EXPECT_EQ(events_of(ctx, 1)[0].res, 1);
    };
    read_pipe();
    std::error_code ec;
    const auto first = aio::io_threads::process(ec);
    const int number = first->wakeup.number();
    const auto other = temporary_file();
    ASSERT_EQ(::syscall(SYS_dup3, other.get(), number, O_CLOEXEC), number);
    for (int n = 0; n < 3; ++n) read_pipe();
    EXPECT_EQ(size_of(other.get()), 0);
    EXPECT_EQ(aio::io_threads::process(ec)->serial, first->serial + 1);
  });
}

// Oracle: the request completes and signals its eventfd, although its I/O threads can no longer announce the
// completion and no thread calls io_getevents.
TEST(files_of_the_io_threads, a_request_of_lost_io_threads_signals_its_eventfd) {
  in_child([] {
    const pipe_ends pipe;
    const auto file = temporary_file("hello");
    const doorbell::eventfd efd{0, 0};
    char byte = 0;
    aio::context ctx{8, aio::engine_kind::threads};
    auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    read.set_eventfd(efd);
    ASSERT_EQ(ctx.submit({&read}), 1U);
    std::error_code ec;
    const auto first = aio::io_threads::process(ec);
    ASSERT_EQ(::syscall(SYS_close_range, file.get() + 1, ~0U, 0), 0);
    auto sync = aio::prep_fsync(file.get());
    sync.set_eventfd(efd);
    ASSERT_EQ(ctx.submit({&sync}), 1U);
    EXPECT_EQ(efd.read_for(10s), 1U);
    EXPECT_EQ(aio::io_threads::process(ec)->serial, first->serial + 1);
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    EXPECT_EQ(efd.read_for(10s), 1U);
  });
}

// Oracle: the memory of the process does not grow with the number of lost sets of I/O threads.
TEST(files_of_the_io_threads, lost_io_threads_leave_no_memory_behind) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer has another allocator, and finds leaks itself";
  in_child([] {
    constexpr std::size_t sets = 50;
    const auto file = temporary_file("hello");
    std::error_code ec;
    const auto lose_a_set = [&] {
      aio::context ctx{8, aio::engine_kind::threads};
      const auto sync_file = [&] {
        auto sync = aio::prep_fsync(file.get());
        ASSERT_EQ(ctx.submit({&sync}), 1U);
        EXPECT_EQ(events_of(ctx, 1)[0].res, 0);
      };
      sync_file();
      const auto serial = aio::io_threads::process(ec)->serial;
      ASSERT_EQ(::syscall(SYS_close_range, file.get() + 1, ~0U, 0), 0);
      sync_file();
      EXPECT_EQ(aio::io_threads::process(ec)->serial, serial + 1);
    };
    // The first round lets the C library make its arenas for threads, and lets the lost I/O threads end.
    for (std::size_t n = 0; n < sets; ++n) lose_a_set();
    const auto is_settled = [] {
      const std::filesystem::directory_iterator threads{"/proc/self/task"};
      return std::distance(begin(threads), end(threads)) <= 3;  // this one, the last I/O threads' poller and worker
    };
    EXPECT_TRUE(doorbell::test::eventually(is_settled));
    const auto before = ::mallinfo2().uordblks;
    for (std::size_t n = 0; n < sets; ++n) lose_a_set();
    EXPECT_TRUE(doorbell::test::eventually([&] {
      return ::mallinfo2().uordblks < before + sets / 2 * sizeof(aio::io_threads);
    })) << ::mallinfo2().uordblks - before
        << " bytes more after " << sets << " sets, each of which has an io_threads of " << sizeof(aio::io_threads);
  });
}

// Oracle: the process has replaced its I/O threads once, although several submitters have found that they are lost.
TEST(files_of_the_io_threads, submitters_that_lose_the_io_threads_concurrently_get_the_same_new_set) {
  in_child([] {
    constexpr std::size_t submitters = 4;
    const auto file = temporary_file("hello");
    std::vector<std::unique_ptr<aio::context>> contexts;
    for (std::size_t n = 0; n < submitters; ++n)
      contexts.push_back(std::make_unique<aio::context>(8U, aio::engine_kind::threads));
    const auto sync_file = [&](std::size_t which) {
      auto sync = aio::prep_fsync(file.get());
      ASSERT_EQ(contexts[which]->submit({&sync}), 1U);
      EXPECT_EQ(events_of(*contexts[which], 1)[0].res, 0);
    };
    sync_file(0);
    std::error_code ec;
    const auto first = aio::io_threads::process(ec);
    ASSERT_EQ(::syscall(SYS_close_range, file.get() + 1, ~0U, 0), 0);
    doorbell::test::run_together(submitters, sync_file);
    EXPECT_EQ(aio::io_threads::process(ec)->serial, first->serial + 1);
  });
}

// Oracle: once the program has closed its descriptors of a pipe, no thread has one. Most likely to be kept by mistake
// are descriptors next to the I/O threads' own numbers.
void expect_io_threads_have_no_other_file() {
  pipe_ends pipe;
  const auto first = doorbell::base::private_fd::lowest_number();
  std::vector<unique_fd> copies;
  for (int number = first; number < first + 40; ++number) {
    if (number % 3 == 0) continue;
    ASSERT_EQ(::dup3(pipe.read.get(), number, O_CLOEXEC), number);
    copies.emplace_back(number);
  }
  aio::context ctx{64, aio::engine_kind::threads};
  const auto file = temporary_file("hello");
  auto sync = aio::prep_fsync(file.get());
  ASSERT_EQ(ctx.submit({&sync}), 1U);
  EXPECT_EQ(events_of(ctx, 1)[0].res, 0);
  EXPECT_TRUE(doorbell::test::is_open(file.get()));
  std::error_code ec;
  const int wakeup = aio::io_threads::process(ec)->wakeup.number();
  EXPECT_TRUE(doorbell::test::is_open(wakeup - 1) && doorbell::test::is_open(wakeup + 1)) << wakeup;
  copies.clear();
  pipe.read.reset();
  pollfd writer{.fd = pipe.write.get(), .events = 0, .revents = 0};
  EXPECT_EQ(::poll(&writer, 1, 0), 1);
  EXPECT_EQ(writer.revents, POLLERR);
}

TEST(files_of_the_io_threads, the_io_threads_table_has_no_other_file_of_the_program) {
  in_child(expect_io_threads_have_no_other_file);
}

TEST(files_of_the_io_threads, the_io_threads_table_has_no_other_file_where_close_range_is_refused) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  in_child([] {
    doorbell::test::refuse(SYS_close_range, EPERM);
    expect_io_threads_have_no_other_file();
  });
}

// Requests for files are then carried out by the thread that submits them; a request that would wait is refused.
TEST(files_of_the_io_threads, without_a_descriptor_table_of_their_own_the_io_threads_do_not_start) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  in_child([] {
    doorbell::test::refuse(SYS_close_range, EPERM);
    doorbell::test::refuse(SYS_unshare, EPERM);
    aio::context ctx{64, aio::engine_kind::threads};
    const auto file = temporary_file("hello");
    auto sync = aio::prep_fsync(file.get());
    ASSERT_EQ(ctx.submit({&sync}), 1U);
    EXPECT_EQ(events_of(ctx, 1)[0].res, 0);
    const pipe_ends pipe;
    char byte = 0;
    auto waits = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    std::error_code ec;
    EXPECT_EQ(ctx.submit({&waits}, ec), 0U);
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
  });
}

// As in the kernel, io_submit carries the requests out or refuses them: it never accepts a request that would not
// complete.
TEST(files_of_the_io_threads, without_threads_files_are_served_by_the_submitting_thread) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  in_child([] {
    doorbell::test::refuse(SYS_clone3, EAGAIN);
    aio::context ctx{64, aio::engine_kind::threads};
    const auto file = temporary_file();
    const auto bytes = blocks_of('x');
    auto write = aio::prep_pwrite(file.get(), bytes.get(), block, 0);
    auto sync = aio::prep_fsync(file.get());
    ASSERT_EQ(ctx.submit({&write, &sync}), 2U);
    const auto events = events_of(ctx, 2);
    EXPECT_EQ(events[0].res, static_cast<std::int64_t>(block));
    EXPECT_EQ(events[1].res, 0);
    EXPECT_EQ(size_of(file.get()), static_cast<off_t>(block));
  });
}

bool has_worker_with_priority(int priority) {
  constexpr int who_process = 1;
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream file{task.path() / "comm"};
    std::string name;
    const int thread = std::stoi(task.path().filename().string());
    if (std::getline(file, name) && name == "doorbell-worker" &&
        ::syscall(SYS_ioprio_get, who_process, thread) == priority)
      return true;
  }
  return false;
}

// The write sleeps in the worker, because its count is larger than the room in the counter.
TEST(files_of_the_io_threads, a_worker_has_the_priority_of_its_request_until_it_has_carried_it_out) {
  in_child([] {
    constexpr int lowest = 2 << 13 | 7;  // IOPRIO_CLASS_BE
    const std::uint64_t too_much = ~0ULL - 5;
    const auto full = doorbell::test::kernel_eventfd(10, 0);
    aio::context ctx{8, aio::engine_kind::threads};
    auto write = aio::prep_pwrite(full.get(), &too_much, sizeof too_much, 0);
    write.flags |= aio::iocb_abi::flag_ioprio;
    write.reqprio = lowest;
    ASSERT_EQ(ctx.submit({&write}), 1U);
    EXPECT_TRUE(doorbell::test::eventually([] { return has_worker_with_priority(lowest); }));
    doorbell::test::take(full.get());
    EXPECT_EQ(events_of(ctx, 1)[0].res, 8);
    EXPECT_TRUE(doorbell::test::eventually([] { return !has_worker_with_priority(lowest); }));
  });
}

// Oracle: a request for a file completes although many more requests are stuck than a set of I/O threads usually
// has workers.
TEST(files_of_the_io_threads, stuck_requests_do_not_stop_the_others) {
  in_child([] {
    constexpr std::size_t stuck = 40;
    aio::context stuck_ctx{64, aio::engine_kind::threads};
    aio::context ctx{64, aio::engine_kind::threads};
    std::vector<unique_fd> full;
    std::vector<aio::iocb> writes;
    std::vector<aio::iocb*> asked;
    const std::uint64_t too_much = ~0ULL - 5;  // larger than the room that is left in the counter: the write sleeps
    for (std::size_t n = 0; n < stuck; ++n) {
      full.push_back(doorbell::test::kernel_eventfd(10, 0));
      writes.push_back(aio::prep_pwrite(full.back().get(), &too_much, sizeof too_much, 0));
    }
    for (auto& each : writes) asked.push_back(&each);
    ASSERT_EQ(stuck_ctx.submit(asked), stuck);
    const auto file = temporary_file("hello");
    auto sync = aio::prep_fsync(file.get());
    ASSERT_EQ(ctx.submit({&sync}), 1U);
    EXPECT_EQ(events_of(ctx, 1)[0].res, 0);
    for (const auto& each : full) doorbell::test::take(each.get());
    for (const auto& each : events_of(stuck_ctx, stuck)) EXPECT_EQ(each.res, 8);
  });
}

}  // namespace
