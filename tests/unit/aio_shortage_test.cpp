// SPDX-License-Identifier: Apache-2.0
//
// Contexts while one allocation after another fails: a call either works or returns an error, and later calls work.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <system_error>

#include "failing_new.hpp"
#include "support/child.hpp"
#include "support/files.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
namespace failing_new = doorbell::test::failing_new;
using doorbell::test::in_child;

// More than the allocations of one call: the last shortage has no effect, which the tests check.
constexpr int most_allocations = 6;

/// While it exists, one allocation of this thread fails, after `before` successful ones.
struct shortage {
  explicit shortage(int before) {
    failing_new::is_lasting = false;
    failing_new::has_failed = false;
    failing_new::left = before;
  }
  ~shortage() { failing_new::left = -1; }
  shortage(const shortage&) = delete;
  shortage& operator=(const shortage&) = delete;
};

bool is_shortage(const std::error_code& ec) {
  return ec == std::errc::not_enough_memory || ec == std::errc::resource_unavailable_try_again;
}

/// Expects that a request of this kind is either refused or completes.
void expect_answer(aio::context& ctx, aio::iocb asked, std::int64_t res, int before) {
  std::error_code ec;
  std::size_t taken = 0;
  {
    const shortage meanwhile{before};
    taken = ctx.submit({&asked}, ec);
  }
  EXPECT_TRUE(before < most_allocations - 1 || !failing_new::has_failed);
  if (taken == 0) {
    EXPECT_TRUE(failing_new::has_failed) << "refused without a shortage: " << ec.message();
    EXPECT_TRUE(is_shortage(ec)) << ec.message();
    return;
  }
  std::array<aio::io_event, 1> events{};
  ASSERT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
  EXPECT_EQ(events[0].res, res);
}

void expect_that_it_works(aio::context& ctx) {
  const auto file = doorbell::test::temporary_file("hello");
  expect_answer(ctx, aio::prep_fsync(file.get()), 0, -1);
}

// Oracle: the first context of a process is made, or the error is not_enough_memory and another attempt succeeds.
TEST(shortage_of_memory, a_context_is_made_or_refused) {
  for (const auto engine : {aio::engine_kind::automatic, aio::engine_kind::threads})
    for (int before = 0; before < most_allocations; ++before) {
      SCOPED_TRACE(before);
      in_child([&] {
        std::error_code ec;
        {
          const shortage meanwhile{before};
          aio::context first{8, engine, ec};
        }
        EXPECT_TRUE(before != 0 || failing_new::has_failed);
        EXPECT_TRUE(before < most_allocations - 1 || !failing_new::has_failed);
        EXPECT_TRUE(!ec || ec == std::errc::not_enough_memory) << ec.message();
        EXPECT_TRUE(!ec || failing_new::has_failed);
        aio::context second{8, engine};
        expect_that_it_works(second);
      });
    }
}

// Oracle: each request has a result or is refused, also the first that needs the I/O threads.
TEST(shortage_of_memory, a_request_is_answered_or_refused) {
  for (int before = 0; before < most_allocations; ++before) {
    SCOPED_TRACE(before);
    in_child([&] {
      const auto file = doorbell::test::temporary_file("hello");
      const doorbell::test::pipe_ends pipe;
      ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
      std::array<char, 8> text{};
      aio::context ctx{8};
      expect_answer(ctx, aio::prep_fsync(file.get()), 0, before);
      expect_answer(ctx, aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0), 1, before);
      expect_that_it_works(ctx);
    });
  }
}

// Oracle: the same for the first request after the program has closed the I/O threads' descriptors.
TEST(shortage_of_memory, a_request_is_answered_or_refused_after_the_loss_of_the_io_threads) {
  for (int before = 0; before < most_allocations; ++before) {
    SCOPED_TRACE(before);
    in_child([&] {
      const auto file = doorbell::test::temporary_file("hello");
      const doorbell::test::pipe_ends pipe;
      aio::context ctx{8, aio::engine_kind::threads};
      expect_that_it_works(ctx);
      ASSERT_EQ(::syscall(SYS_close_range, pipe.write.get() + 1, ~0U, 0), 0);
      expect_answer(ctx, aio::prep_fsync(file.get()), 0, before);
      expect_that_it_works(ctx);
    });
  }
}

}  // namespace
