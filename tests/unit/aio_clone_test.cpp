// SPDX-License-Identifier: Apache-2.0
//
// Children created by a direct clone(2) system call, for which no handler of pthread_atfork(3) runs.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <thread>

#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/cloned_child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/sanitizer.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::in_cloned_child;

/// Creates a context, and expects that a thread of this process signals the eventfd of its request.
void expect_own_context_works() {
  const auto eventfd = doorbell::test::kernel_eventfd();
  const doorbell::test::pipe_ends pipe;
  aio::aio_context_t own = 0;
  ASSERT_EQ(aio::io_setup(8, &own), 0);
  char text = 0;
  auto read = aio::prep_pread(pipe.read.get(), &text, 1, 0);
  read.flags = aio::iocb_abi::flag_resfd;
  read.resfd = static_cast<std::uint32_t>(eventfd.get());
  aio::iocb_abi* asked = &read;
  ASSERT_EQ(aio::io_submit(own, 1, &asked), 1);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  pollfd signalled{.fd = eventfd.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&signalled, 1, 20'000), 1);
  aio::io_event event{};
  EXPECT_EQ(aio::io_getevents(own, 1, 1, &event, nullptr), 1);
  EXPECT_EQ(aio::io_destroy(own), 0);
}

class aio_clone : public testing::Test {
 protected:
  void SetUp() override {
    if (doorbell::test::sanitized) GTEST_SKIP() << "the fork handlers of a sanitizer do not run for a direct clone(2)";
    expect_own_context_works();  // starts threads in the parent that the child does not have
    ctx_.emplace(8);
  }

  std::optional<aio::context> ctx_;
};

TEST_F(aio_clone, the_child_has_none_of_its_parents_contexts) {
  const auto handle = ctx_->handle();
  in_cloned_child([&] {
    char text = 0;
    auto read = aio::prep_pread(0, &text, 1, 0);
    aio::iocb_abi* asked = &read;
    aio::io_event event{};
    EXPECT_EQ(aio::io_submit(handle, 1, &asked), -EINVAL);
    EXPECT_EQ(aio::io_getevents(handle, 1, 1, &event, nullptr), -EINVAL);
    EXPECT_EQ(aio::io_cancel(handle, &read, &event), -EINVAL);
    EXPECT_EQ(aio::io_destroy(handle), -EINVAL);
    EXPECT_EQ(ctx_->handle(), 0U);
    EXPECT_EQ(aio::aio_nr(), 0U);
  });
  EXPECT_EQ(ctx_->handle(), handle);
}

TEST_F(aio_clone, the_child_can_create_contexts) {
  in_cloned_child([] { expect_own_context_works(); });
  expect_own_context_works();
}

TEST_F(aio_clone, children_of_the_child_can_create_contexts) {
  in_cloned_child([] {
    expect_own_context_works();
    in_cloned_child([] { expect_own_context_works(); });
    doorbell::test::in_child([] { expect_own_context_works(); });
    expect_own_context_works();
  });
}

// The child must not wait for a thread that sleeps in a wait when the child is created.
TEST_F(aio_clone, the_child_does_not_wait_for_its_parents_threads) {
  doorbell::test::asleep sleeper{[&] {
    std::array<aio::io_event, 1> events{};
    std::error_code ec;
    ctx_->get_events(1, events, ec);
  }};
  in_cloned_child([] { expect_own_context_works(); });
  ctx_->destroy();
}

TEST_F(aio_clone, the_child_closes_no_descriptor_in_a_table_that_it_shares_with_its_parent) {
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    ::alarm(doorbell::test::child_patience_in_seconds);
    expect_own_context_works();
    ::_exit(testing::Test::HasFailure() ? EXIT_FAILURE : EXIT_SUCCESS);
  }
  doorbell::test::expect_success(child);
  const doorbell::test::pipe_ends pipe;
  char text = 0;
  auto read = aio::prep_pread(pipe.read.get(), &text, 1, 0);
  ASSERT_EQ(ctx_->submit({&read}), 1U);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  std::array<aio::io_event, 1> events{};
  EXPECT_EQ(ctx_->get_events(1, events, 20s).size(), 1U);
}

}  // namespace
