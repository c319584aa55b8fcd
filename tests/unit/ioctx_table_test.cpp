// SPDX-License-Identifier: Apache-2.0
//
// The end of a context, seen by those who may still look at it: a lookup that has found it and is not yet its user, another
// who destroys it, the reaper.
#include "../../aio/ioctx_table.hpp"

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

#include "../../aio/reaper.hpp"
#include "support/asleep.hpp"
#include "support/files.hpp"
#include "support/threads.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::base::rcu_read_guard;
using doorbell::test::sleeper;

/// Runs `body` in another thread, and returns when it has ended. Oracle: it does not get to its end within the section
/// that is open when it begins.
template <class Body>
void expect_to_wait_for_readers(Body body) {
  sleeper waiting;
  std::atomic<bool> ended{false};
  std::jthread thread;  // joined when the section has ended
  const rcu_read_guard reading;
  thread = std::jthread{[&] {
    waiting.here();
    body();
    ended = true;
  }};
  EXPECT_TRUE(waiting.wait_until_asleep());
  EXPECT_FALSE(ended);
}

TEST(ioctx_table, a_context_is_in_memory_for_as_long_as_one_who_found_it_reads) {
  aio::aio_context_t ctx = 0;
  ASSERT_EQ(aio::io_setup(1, &ctx), 0);
  expect_to_wait_for_readers([&] { EXPECT_EQ(aio::io_destroy(ctx), 0); });
}

TEST(ioctx_table, an_array_is_in_memory_for_as_long_as_one_who_goes_through_it_reads) {
  std::array<aio::aio_context_t, 64> contexts{};
  ASSERT_EQ(aio::io_setup(1, contexts.data()), 0);  // the first array replaces none
  expect_to_wait_for_readers([&] {
    for (auto& ctx : std::span{contexts}.subspan(1)) EXPECT_EQ(aio::io_setup(1, &ctx), 0);
  });
  for (const auto ctx : contexts) EXPECT_EQ(aio::io_destroy(ctx), 0);
}

/// Where the next mapping of so many bytes will be, unless this thread maps something else first.
aio::aio_context_t next_mapping(std::size_t bytes) {
  void* const there = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ::munmap(there, bytes);
  return reinterpret_cast<aio::aio_context_t>(there);
}

/// How long the ring of a context is, by its header.
std::size_t ring_bytes(aio::aio_context_t ctx) {
  return (reinterpret_cast<const unsigned*>(ctx)[1] + 1) * sizeof(aio::io_event);
}

// Oracle: while one is refused, because the process has as many requests as it may have, nobody finds it at its handle. It
// is the one for which the table would grow, so that it would wait here until somebody has looked.
TEST(ioctx_table, a_context_that_is_refused_cannot_be_found) {
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

// Oracle: while the one who destroys a context is held up on the way, in front of the table, another is told that it comes
// too late, and does not follow.
TEST(ioctx_table, the_second_who_destroys_a_context_does_not_get_to_the_table) {
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

// Oracle: a context is not gone before the reaper has let go of it: who destroys it waits for the reaper's lock.
TEST(reaper, has_forgotten_a_context_by_the_time_that_it_is_gone) {
  const doorbell::test::pipe_ends pipe;
  const doorbell::eventfd bell;
  aio::context ctx{1};
  char byte = 0;
  auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
  read.set_eventfd(bell);
  ASSERT_EQ(ctx.submit({&read}), 1U);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  ASSERT_EQ(bell.read(), 1U);
  auto& reaper = aio::reaper::process();
  reaper.lock_for_fork();
  doorbell::test::asleep destroyer{[&] { ctx.destroy(); }};
  reaper.unlock_after_fork();
  destroyer.join();
}

}  // namespace
