// SPDX-License-Identifier: Apache-2.0
//
// Contexts that several threads use concurrently. The tests are bounded by numbers of rounds, not by time.
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <memory>
#include <thread>
#include <vector>

#include "support/by_engine.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

// Oracle: a buffer that is overwritten as soon as destroy() has returned keeps its new content. A request still in
// flight would overwrite it with file contents.
TEST(aio_stress, no_buffer_is_touched_after_destroy) {
  constexpr int rounds = 200;
  constexpr std::size_t block = 4096;
  constexpr std::size_t depth = 16;
  const auto file = doorbell::test::temporary_file(std::string(block * depth, 'f'));
  const doorbell::test::pipe_ends pipe;
  for (int round = 0; round < rounds; ++round) {
    aio::context ctx{depth * 2};
    const auto buffers = std::make_unique<std::array<std::array<char, block>, depth * 2>>();
    std::vector<aio::iocb> reads;
    for (std::size_t n = 0; n < depth; ++n) {
      reads.push_back(doorbell::test::by_engine(
          aio::prep_pread(file.get(), (*buffers)[n].data(), block, static_cast<std::int64_t>(n * block))));
      reads.push_back(aio::prep_pread(pipe.read.get(), (*buffers)[depth + n].data(), block, 0));
    }
    std::vector<aio::iocb*> pointers;
    pointers.reserve(reads.size());
    for (auto& read : reads) pointers.push_back(&read);
    ASSERT_EQ(ctx.submit(pointers), pointers.size());
    ctx.destroy();
    for (auto& buffer : *buffers) buffer.fill('.');
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    char taken = 0;
    ASSERT_EQ(::read(pipe.read.get(), &taken, 1), 1) << "a read of a destroyed context took the byte";
    for (const auto& buffer : *buffers)
      for (const char c : buffer) ASSERT_EQ(c, '.');
  }
}

// Oracle: after destroy() has returned, no memory of the context is mapped, whether its last requests completed or were
// cancelled.
TEST(aio_stress, the_ring_is_gone_when_destroy_returns) {
  constexpr int rounds = 100;
  const doorbell::test::pipe_ends pipe;
  const doorbell::eventfd efd;
  std::array<char, 8> text{};
  auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
  read.set_eventfd(efd);
  const auto before = doorbell::test::inventory::now();
  for (int round = 0; round < rounds; ++round) {
    aio::context ctx{8};
    ASSERT_EQ(ctx.submit({&read, &read}), 2U);
    ctx.destroy();
    ASSERT_EQ(doorbell::test::inventory::now().mappings, before.mappings);
  }
}

// Oracle: every accepted request has exactly one event and one count, while several threads submit and get events, and
// after the destroy.
TEST(aio_stress, requests_events_and_counts_agree_until_destroy) {
  constexpr int rounds = 20;
  constexpr std::uint64_t requests_each = 100;
  const auto file = doorbell::test::temporary_file();
  for (int round = 0; round < rounds; ++round) {
    doorbell::eventfd efd;
    aio::context ctx{32};
    std::atomic<std::uint64_t> submitted{0};
    std::atomic<std::uint64_t> got{0};
    std::barrier start{4};
    const auto submit = [&] {
      auto write = aio::prep_pwrite(file.get(), "hello", 5, 0);
      write.set_eventfd(efd);
      start.arrive_and_wait();
      for (std::uint64_t n = 0; n < requests_each;) {
        std::error_code ec;
        if (ctx.submit({&write}, ec) == 1)
          ++submitted, ++n;
        else
          std::this_thread::yield();
      }
    };
    const auto get = [&] {
      std::array<aio::io_event, 8> events;
      start.arrive_and_wait();
      while (got < 2 * requests_each) {
        const auto some = ctx.get_events(1, events, 1ms);
        for (const auto& event : some) EXPECT_EQ(event.res, 5);
        got += some.size();
      }
    };
    std::thread threads[] = {std::thread{submit}, std::thread{submit}, std::thread{get}, std::thread{get}};
    for (auto& thread : threads) thread.join();
    ctx.destroy();
    EXPECT_EQ(got, submitted);
    EXPECT_EQ(efd.read(), submitted);
  }
}

// Oracle: each request has exactly one event, with its result or as cancelled, while two threads cancel it and it
// becomes ready.
TEST(aio_stress, cancel_against_completion) {
  constexpr int rounds = 300;
  constexpr std::size_t depth = 8;
  const auto file = doorbell::test::temporary_file();
  for (int round = 0; round < rounds; ++round) {
    const doorbell::test::pipe_ends pipe;
    aio::context ctx{4 * depth};
    std::array<std::array<char, 1>, depth> texts{};
    std::vector<aio::iocb> requests;
    requests.reserve(3 * depth);
    for (auto& text : texts) {
      requests.push_back(aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0));
      requests.push_back(aio::prep_poll(pipe.read.get(), POLLIN));
      requests.push_back(aio::prep_pwrite(file.get(), "x", 1, 0));
    }
    std::vector<aio::iocb*> pointers;
    pointers.reserve(requests.size());
    for (auto& request : requests) pointers.push_back(&request);
    ASSERT_EQ(ctx.submit(pointers), pointers.size());
    std::barrier start{3};
    const auto cancel = [&] {
      start.arrive_and_wait();
      std::error_code not_in_flight;
      for (auto& request : requests) ctx.cancel(request, not_in_flight);
    };
    std::thread cancellers[] = {std::thread{cancel}, std::thread{cancel}};
    start.arrive_and_wait();
    EXPECT_EQ(::write(pipe.write.get(), "12345678", depth), static_cast<ssize_t>(depth));
    std::vector<aio::io_event> events(pointers.size() + 1);
    EXPECT_EQ(ctx.get_events(pointers.size(), events, 20s).size(), pointers.size());
    for (auto& canceller : cancellers) canceller.join();
    EXPECT_EQ(ctx.get_events(0, events).size(), 0U);
  }
}

// Oracle: exactly one of the destroyers succeeds, and every other call returns, with its result or with
// invalid_argument.
TEST(aio_stress, destroy_against_everything) {
  constexpr int rounds = 150;
  const doorbell::test::pipe_ends pipe;
  for (int round = 0; round < rounds; ++round) {
    doorbell::eventfd efd;
    aio::context ctx{16};
    std::array<char, 8> text{};
    std::atomic<int> destroyed{0};
    std::atomic<std::uint64_t> submitted{0};
    std::barrier start{5};
    const auto destroy = [&] {
      start.arrive_and_wait();
      std::error_code ec;
      ctx.destroy(ec);
      if (!ec)
        ++destroyed;
      else
        EXPECT_EQ(ec, std::errc::invalid_argument);
    };
    const auto submit = [&] {
      auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
      auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
      read.set_eventfd(efd);
      poll.set_eventfd(efd);
      start.arrive_and_wait();
      std::error_code ec;
      while (!ec) {
        submitted += ctx.submit({&read, &poll}, ec);
        std::error_code not_in_flight;
        ctx.cancel(poll, not_in_flight);
        if (ec == std::errc::resource_unavailable_try_again) ec.clear();
      }
      EXPECT_EQ(ec, std::errc::invalid_argument);
    };
    const auto get = [&] {
      std::array<aio::io_event, 4> events;
      start.arrive_and_wait();
      std::error_code ec;
      while (!ec) (void)ctx.get_events(1, events, ec);
      EXPECT_EQ(ec, std::errc::invalid_argument);
    };
    std::thread threads[] = {std::thread{submit}, std::thread{get}, std::thread{get}, std::thread{destroy},
                             std::thread{destroy}};
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(destroyed, 1);
    std::error_code nothing;
    const auto signals = efd.poll() & POLLIN ? efd.read(nothing) : 0;
    EXPECT_EQ(signals, submitted);
  }
}

}  // namespace
