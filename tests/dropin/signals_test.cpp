// SPDX-License-Identifier: Apache-2.0
//
// Signal handlers that call libaio or leave it by siglongjmp(3), and children created by the system call clone(2).
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csetjmp>
#include <csignal>
#include <cstdlib>

#include "queue.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/in_handler.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using doorbell::test::alarm_clock;
using doorbell::test::in_handler;
using doorbell::test::queue;
using doorbell::test::temporary_file;

/// Reads one byte of a cached file, which completes in io_submit, and gets at most one event.
class reader {
 public:
  explicit reader(queue& with) : ctx_{with} {}

  void submit_and_get(char* into) {
    iocb read{};
    ::io_prep_pread(&read, file_.get(), into, 1, 0);
    const int submitted = ctx_.submit(read);
    if (submitted == 1) ++left_;
    if (submitted != 1 && submitted != -EAGAIN) ++wrong_;
    get();
  }

  void get() {
    timespec no_time{};
    io_event event{};
    const int got = ::io_getevents(ctx_.handle(), 0, 1, &event, &no_time);
    if (got == 1) --left_;
    if (got != 0 && got != 1 && got != -EINTR) ++wrong_;
  }

  [[nodiscard]] int left() const { return left_; }
  [[nodiscard]] unsigned wrong() const { return wrong_; }

 private:
  queue& ctx_;
  const doorbell::base::unique_fd file_ = temporary_file("x");
  std::atomic<int> left_{0};
  std::atomic<unsigned> wrong_{0};
};

// Oracle: there are as many events as accepted requests.
TEST(signals, handlers_submit_and_get_while_the_thread_does) {
  const doorbell::test::watchdog dog;
  queue ctx{64};
  reader reads{ctx};
  std::array<char, 2> text{};
  std::atomic<unsigned> handled{0};
  const in_handler handler{[&] {
    ++handled;
    reads.submit_and_get(&text[1]);
  }};
  alarm_clock clock;
  ASSERT_TRUE(clock.set(20'000, 20'000));
  const auto end = std::chrono::steady_clock::now() + 1s;
  while (std::chrono::steady_clock::now() < end) reads.submit_and_get(&text[0]);
  clock.stop();
  for (int n = 0; n < 64 && reads.left() > 0; ++n) reads.get();
  EXPECT_EQ(reads.left(), 0);
  EXPECT_EQ(reads.wrong(), 0U);
  EXPECT_GT(handled, 0U);
}

sigjmp_buf landing;

void jump_out_of_getevents(queue& ctx) {
  alarm_clock clock;
  const in_handler handler{[] { siglongjmp(landing, 1); }};
  if (sigsetjmp(landing, 1) != 0) return;
  ASSERT_TRUE(clock.set(50'000'000));
  io_event event{};
  ADD_FAILURE() << "io_getevents returned " << ctx.next(event);
}

TEST(signals, a_thread_that_jumped_out_of_getevents_can_use_the_context) {
  const doorbell::test::watchdog dog;
  const auto file = temporary_file("x");
  queue ctx;
  char text = 0;
  for (int n = 0; n < 3; ++n) {
    jump_out_of_getevents(ctx);
    EXPECT_EQ(ctx.read(file.get(), &text, 1, 0), 1);
  }
  EXPECT_EQ(::io_destroy(ctx.handle()), 0);
}

/// Expects that a request of a new context signals an eventfd.
void expect_own_context_works() {
  const auto eventfd = doorbell::test::kernel_eventfd();
  const doorbell::test::pipe_ends pipe;
  queue own;
  ASSERT_EQ(own.status(), 0);
  iocb poll{};
  ::io_prep_poll(&poll, pipe.read.get(), POLLIN);
  ::io_set_eventfd(&poll, eventfd.get());
  ASSERT_EQ(own.submit(poll), 1);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  pollfd signalled{.fd = eventfd.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&signalled, 1, 20'000), 1);
  io_event event{};
  EXPECT_EQ(own.next(event), 1);
}

TEST(signals, a_child_of_clone_has_only_its_own_contexts) {
  queue parents;
  expect_own_context_works();
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    ::alarm(doorbell::test::child_patience_in_seconds);
    iocb poll{};
    ::io_prep_poll(&poll, 0, POLLIN);
    io_event event{};
    EXPECT_EQ(parents.submit(poll), -EINVAL);
    EXPECT_EQ(parents.next(event), -EINVAL);
    expect_own_context_works();
    ::_exit(testing::Test::HasFailure() ? EXIT_FAILURE : EXIT_SUCCESS);
  }
  doorbell::test::expect_success(child);
  expect_own_context_works();
}

}  // namespace
