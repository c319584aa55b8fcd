// SPDX-License-Identifier: Apache-2.0
//
// A program that closes all descriptors that it does not know, as daemons do at their start, and then uses the numbers
// for files of its own. A kernel AIO context has no descriptors, so a program of the kernel's AIO may do that.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <ctime>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "descriptors_closed.hpp"
#include "support/by_ring.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/sanitizer.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::file_for_engine;
using doorbell::test::highest_closed;
using doorbell::test::in_child;
using doorbell::test::temporary_file;
using doorbell::test::unique_fd;

/// A way to take all descriptors from 3 on away from the library. The new files stay open until the process ends.
struct way {
  const char* name;
  void (*take)(std::vector<int>& files);
};

void open_files(std::vector<int>& files) {
  for (int n = 0; n < 16; ++n) files.push_back(temporary_file().release());
}

void by_close_range(std::vector<int>& files) {
  ASSERT_EQ(::syscall(SYS_close_range, 3, ~0U, 0), 0);
  open_files(files);
}

void by_a_loop(std::vector<int>& files) {
  for (int fd = 3; fd < highest_closed; ++fd) ::syscall(SYS_close, fd);
  open_files(files);
}

// Each number that was in use, also by the library, becomes a file of the program.
void by_dup2(std::vector<int>& files) {
  const auto fresh = temporary_file();
  for (int fd = 3; fd < highest_closed; ++fd)
    if (fd != fresh.get() && doorbell::test::is_open(fd)) {
      ASSERT_EQ(::syscall(SYS_dup3, fresh.get(), fd, O_CLOEXEC), fd);
      files.push_back(fd);
    }
}

// Files of the same kind as the library's own: a wrong write or close by the library would be most harmful here.
void by_dup2_of_eventfds(std::vector<int>& files) {
  const auto fresh = doorbell::test::kernel_eventfd();
  for (int fd = 3; fd < highest_closed; ++fd)
    if (fd != fresh.get() && doorbell::test::is_open(fd)) {
      ASSERT_EQ(::syscall(SYS_dup3, fresh.get(), fd, O_CLOEXEC), fd);
      files.push_back(fd);
    }
}

/// Checks that the program's files are open and that the library has written nothing to them.
void expect_untouched(const std::vector<int>& files) {
  for (const int each : files) {
    struct stat status{};
    ASSERT_EQ(::fstat(each, &status), 0) << "descriptor " << each << " is closed";
    EXPECT_EQ(status.st_size, 0) << "descriptor " << each;
    EXPECT_EQ(doorbell::test::take(each), 0U) << "descriptor " << each;
  }
}

std::chrono::nanoseconds processor_time() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
}

class descriptors_closed : public testing::TestWithParam<way> {
 protected:
  static void take_all(std::vector<int>& files) { GetParam().take(files); }
  static void expect_requests_signal_new_eventfds(bool is_used_before);
};

std::int64_t read_result(aio::context& ctx, int fd) {
  alignas(4096) static std::array<char, 4096> block;
  auto read = aio::prep_pread(fd, block.data(), block.size(), 0);
  std::error_code ec;
  if (ctx.submit({&read}, ec) != 1) return -ec.value();
  std::array<aio::io_event, 4> events{};
  const auto got = ctx.get_events(1, events, 20s);
  return got.empty() ? 0 : got[0].res;
}

// Oracle: requests after the loss complete, and the program's files stay open and empty.
TEST_P(descriptors_closed, requests_complete_and_the_programs_files_are_untouched) {
  for (const bool by_ring : {false, true})
    in_child([&] {
      std::vector<int> files;
      {
        aio::context ctx{8};
        if (by_ring) doorbell::test::let_ring_have_requests(ctx);
        EXPECT_EQ(read_result(ctx, file_for_engine(std::string(4096, 'x')).get()), 4096);
        take_all(files);
        for (int times = 0; times < 3; ++times)
          EXPECT_EQ(read_result(ctx, file_for_engine(std::string(4096, 'y')).get()), 4096);
        ctx.destroy();
      }
      expect_untouched(files);
    });
}

std::vector<int> open_numbers() {
  std::vector<int> open;
  for (int fd = 0; fd < highest_closed; ++fd)
    if (doorbell::test::is_open(fd)) open.push_back(fd);
  return open;
}

// A program expects the lowest free number from open(2), and that no other thread closes its files. Oracle: while the
// program makes no call, the same numbers stay in use and no thread keeps a processor busy. A request in flight signals
// its eventfd meanwhile, and so does a request submitted afterwards.
TEST_P(descriptors_closed, no_thread_of_the_library_opens_a_descriptor_by_itself) {
  in_child([&] {
    aio::context ctx{8};
    doorbell::eventfd efd;
    const auto signal_eventfd = [&](aio::iocb request) {
      request.set_eventfd(efd);
      std::error_code ec;
      EXPECT_EQ(ctx.submit({&request}, ec), 1U) << ec;
      return request;
    };
    const auto waits_for = [](int fd) {
      static char byte = 0;
      return aio::prep_pread(fd, &byte, 1, 0);
    };
    // The program closes the writing end with all other descriptors, so this read then ends.
    doorbell::test::pipe_ends pipe;
    const auto in_flight = signal_eventfd(waits_for(pipe.read.get()));
    std::ignore = const_cast<unique_fd&>(pipe.read).release();
    std::ignore = const_cast<unique_fd&>(pipe.write).release();
    std::vector<int> files;
    take_all(files);
    const auto before = open_numbers();
    for (const auto end = std::chrono::steady_clock::now() + 1500ms; std::chrono::steady_clock::now() < end;) {
      ASSERT_EQ(open_numbers(), before);
      std::this_thread::sleep_for(1ms);
    }
    const auto used_before = processor_time();
    std::this_thread::sleep_for(500ms);
    EXPECT_LT(processor_time() - used_before, 200ms);
    EXPECT_EQ(efd.read_for(20s), 1U);
    const auto file = temporary_file("x");
    const auto next = signal_eventfd(waits_for(file.get()));
    EXPECT_EQ(efd.read_for(20s), 1U);
    expect_untouched(files);
  });
}

bool is_epoll(int fd) {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), none) == "anon_inode:[eventpoll]";
}

/// How often the thread of this name has gone to sleep (proc_pid_status(5), voluntary_ctxt_switches).
long times_of_sleep(std::string_view name) {
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::string known;
    std::getline(std::ifstream{task.path() / "comm"}, known);
    if (known != name) continue;
    std::ifstream status{task.path() / "status"};
    for (std::string word; status >> word;)
      if (word == "voluntary_ctxt_switches:") return status >> word ? std::stol(word) : 0;
  }
  return 0;
}

// Oracle: the reaper's epoll is lost, and a later request makes a new one. From then on the reaper sleeps, instead of
// polling for completions every few milliseconds.
TEST_P(descriptors_closed, a_later_request_makes_a_new_epoll_for_the_reaper) {
  in_child([&] {
    aio::context ctx{8};
    doorbell::eventfd efd;
    alignas(4096) static std::array<char, 4096> block;
    const auto read_and_signal = [&] {
      const auto file = file_for_engine(std::string(4096, 'x'));
      auto request = aio::prep_pread(file.get(), block.data(), block.size(), 0);
      request.set_eventfd(efd);
      std::error_code ec;
      EXPECT_EQ(ctx.submit({&request}, ec), 1U) << ec;
      EXPECT_EQ(efd.read_for(20s), 1U);
    };
    read_and_signal();
    std::vector<int> files;
    take_all(files);
    const auto has_epoll = [] { return std::ranges::any_of(open_numbers(), is_epoll); };
    EXPECT_FALSE(has_epoll());
    // The reaper notices the loss within a second; requests before that do not make an epoll.
    EXPECT_TRUE(doorbell::test::eventually([&] {
      read_and_signal();
      return has_epoll();
    }));
    const auto before = times_of_sleep("doorbell-reaper");
    std::this_thread::sleep_for(500ms);
    EXPECT_LT(times_of_sleep("doorbell-reaper") - before, 20);
    expect_untouched(files);
  });
}

// Oracle: the wait ends at its timeout, and does not keep a processor busy.
TEST_P(descriptors_closed, a_wait_sleeps_until_its_timeout) {
  in_child([] {
    std::vector<int> files;
    aio::context ctx{8};
    std::array<aio::io_event, 4> events{};
    EXPECT_EQ(read_result(ctx, file_for_engine(std::string(4096, 'x')).get()), 4096);
    take_all(files);
    const auto begun = std::chrono::steady_clock::now();
    const auto used = processor_time();
    EXPECT_TRUE(ctx.get_events(1, events, 400ms).empty());
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 400ms);
    EXPECT_LT(processor_time() - used, 300ms);
    ctx.destroy();
    expect_untouched(files);
  });
}

// Oracle: a wait with a signal mask ends at its timeout, and a completion after the loss ends it earlier.
TEST_P(descriptors_closed, a_wait_with_a_mask_ends_at_its_timeout_or_by_a_completion) {
  in_child([] {
    std::vector<int> files;
    aio::aio_context_t ctx = 0;
    ASSERT_EQ(aio::io_setup(8, &ctx), 0);
    take_all(files);
    sigset_t none{};
    const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
    std::array<aio::io_event, 4> events{};
    timespec timeout{.tv_sec = 0, .tv_nsec = 200'000'000};
    const auto used = processor_time();
    EXPECT_EQ(aio::io_pgetevents(ctx, 1, 4, events.data(), &timeout, &mask), 0);
    EXPECT_LT(processor_time() - used, 150ms);
    const auto file = file_for_engine(std::string(4096, 'x'));
    alignas(4096) static std::array<char, 4096> block;
    aio::iocb_abi read = aio::prep_pread(file.get(), block.data(), block.size(), 0);
    aio::iocb_abi* asked = &read;
    ASSERT_EQ(aio::io_submit(ctx, 1, &asked), 1);
    timeout = {.tv_sec = 20, .tv_nsec = 0};
    EXPECT_EQ(aio::io_pgetevents(ctx, 1, 4, events.data(), &timeout, &mask), 1);
    EXPECT_EQ(aio::io_destroy(ctx), 0);
    expect_untouched(files);
  });
}

// Oracle: destroy returns although the engine cannot be asked to cancel the read, and the read transfers nothing.
TEST_P(descriptors_closed, destroy_returns_although_a_read_waits_for_a_pipe) {
  in_child([] {
    std::vector<int> files;
    std::array<int, 2> ends{-1, -1};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    char byte = 0;
    aio::context ctx{8};
    auto read = aio::prep_pread(ends[0], &byte, 1, 0);
    ASSERT_EQ(ctx.submit({&read}), 1U);
    take_all(files);
    ctx.destroy();
    EXPECT_EQ(byte, 0);
    expect_untouched(files);
  });
}

// Oracle: each write that submit has accepted is in the file when destroy has returned.
TEST_P(descriptors_closed, accepted_writes_are_in_the_file) {
  const auto shared = temporary_file();
  in_child([&] {
    std::vector<int> files;
    constexpr std::size_t block_size = 4096;
    alignas(4096) static std::array<char, block_size> block;
    block.fill('w');
    {
      aio::context ctx{64};
      doorbell::test::let_ring_have_requests(ctx);
      const int same = ::fcntl(shared.get(), F_DUPFD_CLOEXEC, 3);
      ::fcntl(same, F_SETFL, O_DIRECT);
      std::vector<aio::iocb> writes;
      std::vector<aio::iocb*> asked;
      for (std::size_t n = 0; n < 64; ++n)
        writes.push_back(aio::prep_pwrite(same, block.data(), block_size, static_cast<off_t>(n * block_size)));
      for (auto& each : writes) asked.push_back(&each);
      ASSERT_EQ(ctx.submit(asked), asked.size());
      take_all(files);
      ctx.destroy();
    }
    expect_untouched(files);
  });
  struct stat status{};
  ASSERT_EQ(::fstat(shared.get(), &status), 0);
  EXPECT_EQ(status.st_size, 64 * 4096);
  std::string content(64UL * 4096, ' ');
  ::fcntl(shared.get(), F_SETFL, 0);
  ASSERT_EQ(::pread(shared.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
  EXPECT_EQ(content, std::string(64UL * 4096, 'w'));
}

void descriptors_closed::expect_requests_signal_new_eventfds(bool is_used_before) {
  in_child([is_used_before] {
    std::vector<int> files;
    aio::aio_context_t ctx = 0;
    ASSERT_EQ(aio::io_setup(8, &ctx), 0);
    alignas(4096) static std::array<char, 4096> block;
    const auto signal_once = [&] {
      const auto file = file_for_engine(std::string(4096, 'x'));
      const auto efd = doorbell::test::kernel_eventfd(0, 0);
      aio::iocb_abi read = aio::prep_pread(file.get(), block.data(), block.size(), 0);
      read.flags = aio::iocb_abi::flag_resfd;
      read.resfd = static_cast<std::uint32_t>(efd.get());
      aio::iocb_abi* asked = &read;
      ASSERT_EQ(aio::io_submit(ctx, 1, &asked), 1);
      std::uint64_t count = 0;
      ASSERT_EQ(::read(efd.get(), &count, sizeof count), 8);
      EXPECT_EQ(count, 1U);
      aio::io_event event{};
      EXPECT_EQ(aio::io_getevents(ctx, 1, 1, &event, nullptr), 1);
    };
    if (is_used_before) signal_once();
    take_all(files);
    for (int times = 0; times < 3; ++times) signal_once();
    EXPECT_EQ(aio::io_destroy(ctx), 0);
    expect_untouched(files);
  });
}

// Oracle: a request submitted after the loss signals the eventfd that it names, one that the program made after the
// loss.
TEST_P(descriptors_closed, requests_signal_new_eventfds) { expect_requests_signal_new_eventfds(true); }

TEST_P(descriptors_closed, first_requests_of_a_context_signal_new_eventfds) {
  expect_requests_signal_new_eventfds(false);
}

/// Closes all descriptors that the program does not know: those with numbers above this one.
void close_above(int highest_known) { ASSERT_EQ(::syscall(SYS_close_range, highest_known + 1, ~0U, 0), 0); }

std::size_t wait_for(aio::context& ctx, std::size_t count, std::int64_t res) {
  std::array<aio::io_event, 16> events{};
  const auto got = ctx.get_events(count, std::span{events}.first(count), 20s);
  for (const auto& each : got) EXPECT_EQ(each.res, res);
  return got.size();
}

// Oracle: each byte is in the file that its request named, although requests still wait for a worker of the first set
// of I/O threads when another set gets requests of the same context.
TEST(descriptors_closed_in_flight, requests_of_two_sets_of_io_threads_reach_their_own_files) {
  in_child([] {
    constexpr std::size_t size = 4096;
    constexpr std::size_t writes = 8;
    alignas(4096) static std::array<char, size> first_block;
    alignas(4096) static std::array<char, size> second_block;
    first_block.fill('1');
    second_block.fill('2');
    const auto first = temporary_file();
    const auto second = temporary_file();
    // Each of these writes keeps a worker until the program reads: the counter has room, but not enough.
    const auto full = doorbell::test::kernel_eventfd(1, 0);
    const std::uint64_t most = UINT64_MAX - 1;
    aio::context ctx{64, aio::engine_kind::threads};
    std::vector<aio::iocb> requests;
    for (int n = 0; n < 16; ++n) requests.push_back(aio::prep_pwrite(full.get(), &most, sizeof most, 0));
    for (std::size_t n = 0; n < writes; ++n)
      requests.push_back(aio::prep_pwrite(first.get(), first_block.data(), size, static_cast<off_t>(n * size)));
    std::vector<aio::iocb*> asked;
    for (auto& each : requests) asked.push_back(&each);
    ASSERT_EQ(ctx.submit(asked), asked.size());
    close_above(full.get());
    std::vector<aio::iocb> later;
    for (std::size_t n = 0; n < writes; ++n)
      later.push_back(aio::prep_pwrite(second.get(), second_block.data(), size, static_cast<off_t>(n * size)));
    for (auto& each : later) ASSERT_EQ(ctx.submit({&each}), 1U);
    EXPECT_EQ(wait_for(ctx, 2 * writes, size), 2 * writes);
    std::string content(writes * size, ' ');
    ASSERT_EQ(::pread(first.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
    EXPECT_EQ(content, std::string(writes * size, '1'));
    ASSERT_EQ(::pread(second.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
    EXPECT_EQ(content, std::string(writes * size, '2'));
    for (int n = 0; n < 16; ++n) {
      std::uint64_t count = 0;
      ASSERT_EQ(::read(full.get(), &count, sizeof count), 8);
    }
  });
}

// Oracle: a context that has used only the first set of I/O threads still gets its completions after the second set is
// lost, too.
TEST(descriptors_closed_in_flight, requests_complete_after_two_sets_of_io_threads_are_lost) {
  in_child([] {
    const doorbell::test::pipe_ends pipe;
    const int highest_known = std::max(pipe.read.get(), pipe.write.get());
    const auto read_byte = [&](aio::context& ctx) {
      char byte = 0;
      auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
      std::error_code ec;
      ASSERT_EQ(ctx.submit({&read}, ec), 1U) << ec;
      ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
      ASSERT_EQ(wait_for(ctx, 1, 1), 1U);
      EXPECT_EQ(byte, 'x');
    };
    aio::context one{8, aio::engine_kind::threads};
    aio::context other{8, aio::engine_kind::threads};
    read_byte(one);
    read_byte(other);
    close_above(highest_known);
    read_byte(other);
    close_above(highest_known);
    read_byte(one);
    read_byte(other);
  });
}

std::set<int> eventfds() {
  std::set<int> found;
  for (const auto& each : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    std::error_code ec;
    if (std::filesystem::read_symlink(each.path(), ec) == "anon_inode:[eventfd]")
      found.insert(std::stoi(each.path().filename()));
  }
  return found;
}

// Oracle: the descriptor of a context becomes readable for a request that the I/O threads complete, although the
// program has closed the eventfd by which they notify the context's ring.
TEST(descriptors_closed_in_flight, the_contexts_descriptor_announces_completions_after_its_eventfd_is_closed) {
  in_child([] {
    const doorbell::test::pipe_ends first;
    const doorbell::test::pipe_ends second;
    auto other_poll = aio::prep_poll(first.read.get(), POLLIN);
    aio::context starts_io_threads{8, aio::engine_kind::threads};
    ASSERT_EQ(starts_io_threads.submit({&other_poll}), 1U);
    const auto before = eventfds();
    aio::context ctx{8, aio::engine_kind::io_uring};
    std::error_code ec;
    pollfd announced{.fd = ctx.descriptor(ec), .events = POLLIN, .revents = 0};
    ASSERT_GE(announced.fd, 0) << ec;
    auto waits = aio::prep_poll(first.read.get(), POLLIN);
    ASSERT_EQ(ctx.submit({&waits}), 1U);
    auto ours = eventfds();
    std::erase_if(ours, [&](int each) { return before.contains(each); });
    ASSERT_FALSE(ours.empty());
    for (const int each : ours) ASSERT_EQ(::syscall(SYS_close, each), 0);
    auto poll = aio::prep_poll(second.read.get(), POLLIN);
    ASSERT_EQ(ctx.submit({&poll}), 1U);
    ASSERT_EQ(::write(second.write.get(), "x", 1), 1);
    EXPECT_EQ(::poll(&announced, 1, 10000), 1);
    EXPECT_EQ(wait_for(ctx, 1, POLLIN), 1U);
    ASSERT_EQ(::write(first.write.get(), "x", 1), 1);
    EXPECT_EQ(wait_for(ctx, 1, POLLIN), 1U);
  });
}

INSTANTIATE_TEST_SUITE_P(, descriptors_closed,
                         testing::Values(way{"close_range", by_close_range}, way{"a_loop", by_a_loop},
                                         way{"dup2", by_dup2}, way{"dup2_of_eventfds", by_dup2_of_eventfds}),
                         [](const auto& tested) { return std::string{tested.param.name}; });

}  // namespace
