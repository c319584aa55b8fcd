// SPDX-License-Identifier: Apache-2.0
//
// Each call of a signal handler that has interrupted another call of the library. There is no real handler: the tests
// mark the thread as inside a call with a call_scope.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/call_scope.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "support/errors.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::error_of;

class aio_interrupted_call : public testing::Test {
 protected:
  // Oracle: the refused calls had no effect.
  void expect_untouched(aio::context& ctx) {
    std::array<aio::io_event, 2> events{};
    EXPECT_TRUE(ctx.get_events(0, events).empty());
    EXPECT_EQ(ctx.submit({&read_}), 1U);
    EXPECT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
  }

  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("hello, world");
  std::array<char, 8> text_{};
  aio::iocb read_ = aio::prep_pread(file_.get(), text_.data(), 5, 0);
};

TEST_F(aio_interrupted_call, calls_of_a_context_are_refused) {
  aio::context ctx{8};
  const auto handle = ctx.handle();
  {
    const doorbell::base::call_scope interrupted;
    const auto refused = std::make_error_code(std::errc::resource_unavailable_try_again);
    std::array<aio::io_event, 2> events{};
    EXPECT_EQ(error_of([&](auto& ec) { const aio::context none{8, ec}; }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(ctx.submit({&read_}, ec), 0U); }), refused);
    EXPECT_EQ(ctx.read_inline(read_), std::nullopt);
    for (const std::size_t min : {0U, 1U})
      EXPECT_EQ(error_of([&](auto& ec) { EXPECT_TRUE(ctx.get_events(min, events, ec).empty()); }),
                std::errc::interrupted);
    EXPECT_EQ(error_of([&](auto& ec) { ctx.cancel(read_, ec); }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(ctx.descriptor(ec), -1); }), refused);
    EXPECT_EQ(ctx.handle(), handle);
    EXPECT_EQ(ctx.engine(), "");
    EXPECT_EQ(error_of([&](auto& ec) { ctx.destroy(ec); }), refused);
  }
  expect_untouched(ctx);
}

// Oracle: handle() does not search for the context, because the interrupted call may be changing the table of contexts.
TEST_F(aio_interrupted_call, the_handle_of_a_destroyed_context_is_still_returned) {
  aio::context ctx{8};
  const auto handle = ctx.handle();
  ctx.destroy();
  {
    const doorbell::base::call_scope interrupted;
    EXPECT_EQ(ctx.handle(), handle);
  }
  EXPECT_EQ(ctx.handle(), 0U);
}

// Oracle: each refused wait alone tells the interrupted call to return instead of sleeping.
TEST_F(aio_interrupted_call, a_refused_wait_keeps_the_interrupted_call_from_sleeping) {
  aio::context ctx{8};
  const auto handle = ctx.handle();
  std::array<aio::io_event, 2> events{};
  const auto must_return_after = [](auto refused) {
    const doorbell::base::refusals_remembered of_interrupted;
    const doorbell::base::call_scope interrupted;
    EXPECT_FALSE(doorbell::base::refusals_remembered::must_return());
    refused();
    return doorbell::base::refusals_remembered::must_return();
  };
  std::error_code ec;
  EXPECT_TRUE(must_return_after([&] { (void)ctx.get_events(1, events, ec); }));
  EXPECT_TRUE(must_return_after([&] { aio::io_getevents(handle, 1, 2, events.data(), nullptr); }));
  EXPECT_TRUE(must_return_after([&] { aio::io_pgetevents(handle, 1, 2, events.data(), nullptr, nullptr); }));
  expect_untouched(ctx);
}

TEST_F(aio_interrupted_call, a_context_that_is_destroyed_aborts_the_program_with_a_message) {
  const auto destroy = [] {
    auto destroyed = std::make_unique<aio::context>(8);
    const doorbell::base::call_scope interrupted;
    destroyed.reset();
  };
  EXPECT_EXIT(destroy(), testing::KilledBySignal(SIGABRT), "doorbell: .* \\(docs/aio.md, Signals\\)\n");
}

// The destructor of a context that has not been moved would end the program here.
TEST_F(aio_interrupted_call, a_context_that_has_been_moved_may_be_destroyed) {
  std::optional<aio::context> moved{8U};
  aio::context ctx{std::move(*moved)};
  {
    const doorbell::base::call_scope interrupted;
    moved.reset();
  }
  expect_untouched(ctx);
}

TEST_F(aio_interrupted_call, calls_by_handle_are_refused) {
  aio::context ctx{8};
  const auto handle = ctx.handle();
  {
    const doorbell::base::call_scope interrupted;
    aio::aio_context_t other = 0;
    EXPECT_EQ(aio::io_setup(8, &other), -EAGAIN);
    EXPECT_EQ(other, 0U);
    aio::iocb_abi* list = &read_;
    EXPECT_EQ(aio::io_submit(handle, 1, &list), -EAGAIN);
    EXPECT_EQ(aio::io_cancel(handle, &read_, nullptr), -EAGAIN);
    std::array<aio::io_event, 2> events{};
    for (const long min : {0L, 1L}) EXPECT_EQ(aio::io_getevents(handle, min, 2, events.data(), nullptr), -EINTR);
    sigset_t mask;
    sigemptyset(&mask);
    const aio::aio_sigset blocked{.sigmask = &mask, .sigsetsize = 8};
    for (const long min : {0L, 1L})
      EXPECT_EQ(aio::io_pgetevents(handle, min, 2, events.data(), nullptr, &blocked), -EINTR);
    EXPECT_EQ(aio::io_destroy(handle), -EAGAIN);
  }
  expect_untouched(ctx);
}

}  // namespace
