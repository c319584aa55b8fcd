// SPDX-License-Identifier: Apache-2.0
//
// A ring of a kernel whose io_uring_enter(2) takes no timeout (before Linux 5.11): waits end as in a newer kernel.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <system_error>
#include <thread>

#include "failing_uring.hpp"
#include "support/asleep.hpp"
#include "support/by_ring.hpp"
#include "support/files.hpp"
#include "support/signal_handler.hpp"
#include "support/threads.hpp"
#include "support/watchdog.hpp"

extern "C" {

// NOLINTBEGIN(readability-identifier-naming): the linker's names
int __real_io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* params);
int __wrap_io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* params) {
  if (const int refusal = doorbell::test::creating.next(); refusal != 0) return refusal;
  const unsigned most = doorbell::test::most_completions;
  if (most != 0 && params->cq_entries > most) return -ENOMEM;
  const int answer = __real_io_uring_queue_init_params(entries, ring, params);
  if (doorbell::test::knows_no_timeouts) ring->features &= ~static_cast<unsigned>(IORING_FEAT_EXT_ARG);
  return answer;
}
// NOLINTEND(readability-identifier-naming)
}

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

class old_ring : public testing::Test {
 protected:
  std::error_code wait(std::chrono::milliseconds time) {
    std::error_code ec;
    std::array<aio::io_event, 1> events{};
    got_ = ctx_.get_events(1, events, time, ec).size();
    return ec;
  }

  /// Lets a read complete while another thread waits with this timeout.
  /// @return whether that thread was asleep and got the event. If it did not get the event, this thread gets it.
  bool gets_completion_during(std::chrono::milliseconds time) {
    doorbell::test::sleeper place;
    std::jthread waiter{[&] {
      place.here();
      EXPECT_FALSE(wait(time));
    }};
    const bool was_asleep = place.wait_until_asleep();
    EXPECT_EQ(ctx_.submit({&read_}), 1U);
    EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1);
    waiter.join();
    if (got_ == 1) return was_asleep;
    EXPECT_FALSE(wait(20s));
    EXPECT_EQ(got_, 1U);
    return false;
  }

  const doorbell::test::watchdog dog_;
  const doorbell::test::injections injected_ = [] {
    doorbell::test::knows_no_timeouts = true;
    return doorbell::test::injections{};
  }();
  doorbell::test::pipe_ends pipe_;
  char byte_ = 0;
  aio::context ctx_{8, aio::engine_kind::io_uring};
  aio::iocb read_ = aio::prep_pread(pipe_.read.get(), &byte_, 1, 0);
  std::size_t got_ = 0;
};

// Oracle: a wait ends after its timeout, and earlier than the next periodic check of a ring without timeouts.
TEST_F(old_ring, a_wait_ends_at_its_deadline) {
  for (const auto time : {30ms, 1100ms}) {
    // The best of five tries counts, because this thread may be without a CPU for long.
    auto best = std::chrono::steady_clock::duration::max();
    for (int tries = 0; tries < 5 && best >= time + 700ms; ++tries) {
      const auto begun = std::chrono::steady_clock::now();
      EXPECT_FALSE(wait(time));
      EXPECT_EQ(got_, 0U);
      const auto taken = std::chrono::steady_clock::now() - begun;
      EXPECT_GE(taken, time);
      best = std::min(best, taken);
    }
    EXPECT_LT(best, time + 700ms);
  }
  EXPECT_EQ(ctx_.engine(), "io_uring");
}

TEST_F(old_ring, a_wait_ends_with_a_completion) {
  doorbell::test::let_ring_have_requests(ctx_);
  // Five tries: the short wait may end before the completion is there if this thread is without a CPU for long.
  bool is_got = false;
  for (int tries = 0; tries < 5 && !is_got; ++tries) is_got = gets_completion_during(500ms);
  EXPECT_TRUE(is_got);
  EXPECT_TRUE(gets_completion_during(20s));
  EXPECT_EQ(ctx_.engine(), "io_uring");
}

TEST_F(old_ring, a_wait_ends_when_the_context_is_destroyed) {
  std::error_code ec;
  doorbell::test::asleep sleeper{[&] { ec = wait(20s); }};
  ctx_.destroy();
  sleeper.join();
  EXPECT_EQ(ec, std::errc::invalid_argument);
}

TEST_F(old_ring, a_signal_handler_interrupts_a_wait) {
  const doorbell::test::signal_handler handler{SA_RESTART};
  for (const auto time : {900ms, 20'000ms})
    doorbell::test::call_under_signals([&] { EXPECT_EQ(wait(time), std::errc::interrupted); });
}

}  // namespace
