// SPDX-License-Identifier: Apache-2.0
//
// The end of a context, as seen by threads that may still access it: a thread whose lookup has found it but has not yet
// taken a reference, another thread that destroys it, and the reaper.
#include "../../aio/context/ioctx_table.hpp"

#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/rcu.hpp>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <span>
#include <thread>

#include "../../aio/reaper/reaper.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/threads.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace aio = doorbell::aio;
using doorbell::base::rcu_read_guard;
using doorbell::test::sleeper;

/// Opens a read section, and runs `body` in another thread meanwhile. When this returns, both have ended.
/// Oracle: `body` does not return within the section, which is open when it begins.
template <class Body>
void expect_to_wait_for_readers(Body body) {
  sleeper waiting;
  std::atomic<bool> ended{false};
  std::jthread thread;  // joined after the end of the section
  const rcu_read_guard reading;
  thread = std::jthread{[&] {
    waiting.here();
    body();
    ended = true;
  }};
  EXPECT_TRUE(waiting.wait_until_asleep());
  EXPECT_FALSE(ended);
}

TEST(ioctx_table, a_context_stays_in_memory_while_a_reader_that_found_it_reads) {
  aio::aio_context_t ctx = 0;
  ASSERT_EQ(aio::io_setup(1, &ctx), 0);
  expect_to_wait_for_readers([&] { EXPECT_EQ(aio::io_destroy(ctx), 0); });
}

TEST(ioctx_table, an_array_stays_in_memory_while_a_reader_walks_it) {
  std::array<aio::aio_context_t, 64> contexts{};
  ASSERT_EQ(aio::io_setup(1, contexts.data()), 0);  // the first array replaces none
  expect_to_wait_for_readers([&] {
    for (auto& ctx : std::span{contexts}.subspan(1)) EXPECT_EQ(aio::io_setup(1, &ctx), 0);
  });
  for (const auto ctx : contexts) EXPECT_EQ(aio::io_destroy(ctx), 0);
}

/// The length of a context's ring, according to its header.
std::size_t ring_bytes(aio::aio_context_t ctx) {
  return (reinterpret_cast<const unsigned*>(ctx)[1] + 1) * sizeof(aio::io_event);
}

/// Moves the ring of a context, and makes a call by its new handle.
void move_ring(aio::aio_context_t& ctx) {
  const auto bytes = (ring_bytes(ctx) + 4095) / 4096 * 4096;
  void* const place = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ctx = reinterpret_cast<aio::aio_context_t>(
      ::mremap(reinterpret_cast<void*>(ctx), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place));
  EXPECT_EQ(aio::io_getevents(ctx, 0, 0, nullptr, nullptr), 0);
}

/// Calls `body` in a child, whose table is empty before, with so many contexts.
template <std::size_t Count, class Body>
void with_contexts(Body body) {
  doorbell::test::in_child([&] {
    std::array<aio::aio_context_t, Count> contexts{};
    for (auto& ctx : contexts) ASSERT_EQ(aio::io_setup(1, &ctx), 0);
    body(contexts[0]);
    for (const auto ctx : contexts) EXPECT_EQ(aio::io_destroy(ctx), 0);
  });
}

// The first array has 16 places. It is replaced when a context whose ring has moved needs a new place, and half of the
// places are used.
TEST(ioctx_table, an_array_that_is_replaced_because_a_ring_moves_stays_in_memory_while_a_reader_walks_it) {
  with_contexts<8>([](auto& ctx) { expect_to_wait_for_readers([&] { move_ring(ctx); }); });
}

TEST(ioctx_table, a_ring_that_moves_and_replaces_no_array_waits_for_no_reader) {
  with_contexts<1>([](auto& ctx) {
    const rcu_read_guard reading;
    std::jthread{[&] { move_ring(ctx); }}.join();
  });
}

/// The address of the next mapping of this size, unless this thread maps something else first.
aio::aio_context_t next_mapping(std::size_t bytes) {
  void* const there = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ::munmap(there, bytes);
  return reinterpret_cast<aio::aio_context_t>(there);
}

// Oracle: a lookup does not find a context that is refused because the process has reached its limit of requests. The
// table would have to grow for this context. So an io_setup that put the context into the table would wait for the end
// of the read section, and the loop would find the context.
TEST(ioctx_table, a_refused_context_is_never_found) {
  constexpr unsigned each = 30;
  std::array<aio::aio_context_t, 7> others{};
  for (auto& ctx : others) ASSERT_EQ(aio::io_setup(each, &ctx), 0);
  aio::aio_context_t large = 0;
  const auto all_but_some = static_cast<unsigned>(aio::aio_max_nr() - aio::aio_nr() - (each - 1));
  if (aio::io_setup(all_but_some, &large) != 0) GTEST_SKIP() << "no room here for a context that uses up the limit";
  std::atomic<aio::aio_context_t> its_place{0};
  std::atomic<bool> ended{false};
  std::jthread refused;
  {
    const rcu_read_guard reading;
    refused = std::jthread{[&] {
      aio::aio_context_t ctx = 0;
      its_place = next_mapping(ring_bytes(others[0]));
      EXPECT_EQ(aio::io_setup(each, &ctx), -EAGAIN);
      ended = true;
    }};
    while (!ended && !HasFailure()) EXPECT_EQ(aio::io_getevents(its_place, 0, 0, nullptr, nullptr), -EINVAL);
  }
  refused.join();
  EXPECT_EQ(aio::io_destroy(large), 0);
  for (const auto ctx : others) EXPECT_EQ(aio::io_destroy(ctx), 0);
}

// Oracle: while the first thread that destroys a context waits for the table's lock, a second one gets EINVAL without
// waiting for that lock.
TEST(ioctx_table, a_second_destroy_does_not_reach_the_table) {
  aio::aio_context_t ctx = 0;
  ASSERT_EQ(aio::io_setup(1, &ctx), 0);
  sleeper second;
  int answer = 0;
  std::jthread other;
  auto& table = aio::ioctx_table::process();
  table.lock_for_fork();
  doorbell::test::asleep first{[ctx] { EXPECT_EQ(aio::io_destroy(ctx), 0); }};
  other = std::jthread{[&] {
    second.here();
    answer = aio::io_destroy(ctx);
  }};
  EXPECT_FALSE(second.wait_until_asleep());
  table.unlock_after_fork();
  first.join();
  other.join();
  EXPECT_EQ(answer, -EINVAL);
}

// Oracle: a context does not end before the reaper has released it: the thread that destroys it waits for the reaper's
// lock.
TEST(reaper, has_released_a_context_before_destroy_returns) {
  const doorbell::test::pipe_ends pipe;
  const doorbell::eventfd efd;
  aio::context ctx{1};
  char byte = 0;
  auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
  read.set_eventfd(efd);
  ASSERT_EQ(ctx.submit({&read}), 1U);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  ASSERT_EQ(efd.read(), 1U);
  auto& reaper = aio::reaper::process();
  reaper.lock_for_fork();
  doorbell::test::asleep destroyer{[&] { ctx.destroy(); }};
  reaper.unlock_after_fork();
  destroyer.join();
}

}  // namespace
