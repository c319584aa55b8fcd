// SPDX-License-Identifier: Apache-2.0
//
// Programs that make some calls by libaio and some by syscall(2), on the same contexts. MariaDB creates contexts and
// submits by libaio, and waits by number.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

// libaio.h defines its own types instead of the kernel's.
#include <libaio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "queue.hpp"
#include "support/files.hpp"

namespace {

using doorbell::test::queue;
using doorbell::test::temporary_file;

int get_events_by_number(io_context_t context, long min, long nr, io_event* events, timespec* timeout) {
  return static_cast<int>(::syscall(SYS_io_getevents, context, min, nr, events, timeout));
}

// Like MariaDB's server, in which one thread waits for up to 256 events in a call, for half a second. Oracle: each
// write and each read of a block completes once, and reads return the bytes written.
TEST(mixed_calls, a_database_submits_by_libaio_and_waits_by_number) {
  constexpr std::size_t block = 16384;
  constexpr std::size_t blocks = 200;
  const auto file = temporary_file();
  queue shared{256};
  ASSERT_EQ(shared.status(), 0);
  struct page {
    iocb request{};
    std::vector<char> bytes = std::vector<char>(block);
    std::atomic<int> completed{0};
  };
  std::vector<page> pages(blocks);
  iocb last{};
  std::atomic<bool> is_wrong{false};
  std::thread waits{[&] {
    for (bool ended = false; !ended;) {
      std::array<io_event, 256> events{};
      timespec half_a_second{.tv_sec = 0, .tv_nsec = 500'000'000};
      const int got = get_events_by_number(shared.handle(), 1, events.size(), events.data(), &half_a_second);
      if (got < 0) {
        is_wrong = true;
        return;
      }
      for (int n = 0; n < got; ++n) {
        const auto& event = events[static_cast<std::size_t>(n)];
        if (event.obj == &last)
          ended = true;
        else if (event.res == block)
          ++static_cast<page*>(event.data)->completed;
      }
    }
  }};
  const auto all_completed = [&](int times) {
    for (const auto& each : pages)
      while (each.completed < times && !is_wrong) std::this_thread::yield();
  };
  for (std::size_t n = 0; n < blocks; ++n) {
    auto& each = pages[n];
    const auto offset = n * block;
    std::memset(each.bytes.data(), static_cast<int>(n), block);
    ::io_prep_pwrite(&each.request, file.get(), each.bytes.data(), block, static_cast<long long>(offset));
    each.request.data = &each;
    EXPECT_EQ(shared.submit(each.request), 1);
  }
  all_completed(1);
  for (std::size_t n = 0; n < blocks; ++n) {
    auto& each = pages[n];
    const auto offset = n * block;
    std::memset(each.bytes.data(), 0xff, block);
    ::io_prep_pread(&each.request, file.get(), each.bytes.data(), block, static_cast<long long>(offset));
    each.request.data = &each;
    EXPECT_EQ(shared.submit(each.request), 1);
  }
  all_completed(2);
  char nothing = 0;
  ::io_prep_pread(&last, file.get(), &nothing, 1, 0);
  EXPECT_EQ(shared.submit(last), 1);
  waits.join();
  EXPECT_FALSE(is_wrong);
  for (std::size_t n = 0; n < blocks; ++n) {
    EXPECT_EQ(pages[n].completed, 2);
    EXPECT_EQ(pages[n].bytes, std::vector<char>(block, static_cast<char>(n)));
  }
}

TEST(mixed_calls, a_context_made_by_number_works_with_libaio) {
  io_context_t made = nullptr;
  ASSERT_EQ(::syscall(SYS_io_setup, 8, &made), 0);
  const auto file = temporary_file("text");
  std::array<char, 4> text{};
  iocb request{};
  iocb* list = &request;
  ::io_prep_pread(&request, file.get(), text.data(), text.size(), 0);
  EXPECT_EQ(::io_submit(made, 1, &list), 1);
  io_event event{};
  EXPECT_EQ(::io_getevents(made, 1, 1, &event, nullptr), 1);
  EXPECT_EQ(event.res, 4U);
  EXPECT_EQ(::io_destroy(made), 0);
  EXPECT_EQ(::syscall(SYS_io_destroy, made), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(mixed_calls, a_context_made_by_libaio_is_destroyed_by_number) {
  io_context_t made = nullptr;
  ASSERT_EQ(::io_setup(8, &made), 0);
  EXPECT_EQ(::syscall(SYS_io_destroy, made), 0);
  EXPECT_EQ(::io_destroy(made), -EINVAL);
}

}  // namespace
