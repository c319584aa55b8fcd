// SPDX-License-Identifier: Apache-2.0
//
// What a lookup relies on while it has found a context and is not yet its user: the memory is there until it has left its
// section.
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/rcu.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <span>
#include <thread>

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

}  // namespace
