// SPDX-License-Identifier: Apache-2.0
//
// Threads that leave io_getevents by siglongjmp(3) out of a signal handler.
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csetjmp>
#include <csignal>
#include <thread>

#include "support/asleep.hpp"
#include "support/files.hpp"
#include "support/in_handler.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

sigjmp_buf landing;  // used by the only thread that jumps

/// Waits for an event of a context without events until a signal handler jumps out of the wait.
void jump_out_of_getevents(aio::aio_context_t ctx, const aio::aio_sigset* mask = nullptr) {
  doorbell::test::alarm_clock clock;
  const doorbell::test::in_handler handler{[] { siglongjmp(landing, 1); }};
  if (sigsetjmp(landing, 1) != 0) return;
  ASSERT_TRUE(clock.set(50'000'000));
  aio::io_event event{};
  const int answer = aio::io_pgetevents(ctx, 1, 1, &event, nullptr, mask);
  ADD_FAILURE() << "io_pgetevents returned " << answer;
}

/// A thread that jumps out of a wait, and then runs until end().
class jumper {
 public:
  explicit jumper(aio::aio_context_t ctx)
      : thread_{[this, ctx] {
          jump_out_of_getevents(ctx);
          has_jumped_ = true;
          has_jumped_.notify_all();
          may_end_.wait(false);
        }} {
    has_jumped_.wait(false);
  }
  ~jumper() { end(); }
  void end() {
    may_end_ = true;
    may_end_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<bool> has_jumped_{false};
  std::atomic<bool> may_end_{false};
  std::jthread thread_;
};

class aio_jump : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(aio::io_setup(8, &ctx_), 0); }
  void TearDown() override {
    if (ctx_ == 0) return;
    EXPECT_EQ(aio::io_destroy(ctx_), 0);
  }

  void submit() {
    aio::iocb_abi* asked = &read_;
    ASSERT_EQ(aio::io_submit(ctx_, 1, &asked), 1);
  }
  void complete() const { ASSERT_EQ(::write(pipe_.write.get(), "x", 1), 1); }
  int wait(const aio::aio_sigset* mask = nullptr) const {
    aio::io_event event{};
    timespec limit{.tv_sec = 20, .tv_nsec = 0};
    return aio::io_pgetevents(ctx_, 1, 1, &event, &limit, mask);
  }

  const doorbell::test::watchdog dog_;
  const doorbell::test::pipe_ends pipe_;
  char text_ = 0;
  aio::iocb_abi read_ = aio::prep_pread(pipe_.read.get(), &text_, 1, 0);
  aio::aio_context_t ctx_ = 0;
};

TEST_F(aio_jump, the_thread_that_jumped_can_destroy_the_context) {
  jump_out_of_getevents(ctx_);
  EXPECT_EQ(aio::io_destroy(ctx_), 0);
  ctx_ = 0;
}

TEST_F(aio_jump, the_thread_that_jumped_can_submit_and_get_the_event) {
  for (int n = 0; n < 3; ++n) {
    jump_out_of_getevents(ctx_);
    submit();
    complete();
    EXPECT_EQ(wait(), 1);
  }
}

TEST_F(aio_jump, the_thread_that_jumped_can_wait_with_a_signal_mask) {
  sigset_t blocked;
  sigemptyset(&blocked);
  const aio::aio_sigset mask{.sigmask = &blocked, .sigsetsize = 8};
  for (int n = 0; n < 3; ++n) {
    jump_out_of_getevents(ctx_, &mask);
    submit();
    complete();
    EXPECT_EQ(wait(&mask), 1);
  }
}

TEST_F(aio_jump, another_thread_can_get_the_event) {
  jumper other{ctx_};
  submit();
  doorbell::test::asleep getter{[this] { EXPECT_EQ(wait(), 1); }};
  complete();
  getter.join();
}

TEST_F(aio_jump, another_thread_can_destroy_the_context) {
  jumper other{ctx_};
  submit();
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(aio::io_destroy(ctx_), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
  ctx_ = 0;
}

TEST_F(aio_jump, another_thread_can_destroy_the_context_after_the_end_of_the_thread_that_jumped) {
  jumper other{ctx_};
  other.end();
  EXPECT_EQ(aio::io_destroy(ctx_), 0);
  ctx_ = 0;
}

TEST_F(aio_jump, out_of_a_wait_behind_another_thread_does_not_affect_that_thread) {
  submit();
  doorbell::test::asleep getter{[this] { EXPECT_EQ(wait(), 1); }};
  jump_out_of_getevents(ctx_);
  complete();
  getter.join();
}

// Oracle: a wait of a handler on an alternate stack gets its event. The interrupted wait then returns -EINTR: the
// library does not take it for a wait that a jump has left.
TEST_F(aio_jump, a_wait_interrupted_by_a_handler_on_an_alternate_stack_is_not_taken_for_a_jump) {
  constexpr std::size_t size = std::size_t{1} << 18;
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  stack_t before{};
  const stack_t other{.ss_sp = memory, .ss_flags = 0, .ss_size = size};
  ASSERT_EQ(::sigaltstack(&other, &before), 0);
  {
    int got = 0;
    const doorbell::test::in_handler handler{[&] {
                                               submit();
                                               complete();
                                               got = wait();
                                             },
                                             SA_ONSTACK};
    doorbell::test::alarm_clock clock;
    ASSERT_TRUE(clock.set(50'000'000));
    EXPECT_EQ(wait(), -EINTR);
    EXPECT_EQ(got, 1);
    // This thread can become the leader again.
    submit();
    complete();
    EXPECT_EQ(wait(), 1);
  }
  ::sigaltstack(&before, nullptr);
  ::munmap(memory, size);
}

}  // namespace
