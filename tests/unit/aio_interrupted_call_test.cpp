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
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_TRUE(ctx.get_events(1, events, ec).empty()); }), std::errc::interrupted);
    EXPECT_EQ(error_of([&](auto& ec) { ctx.cancel(read_, ec); }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(ctx.descriptor(ec), -1); }), refused);
    EXPECT_EQ(ctx.handle(), handle);
    EXPECT_EQ(ctx.engine(), "");
    EXPECT_EQ(error_of([&](auto& ec) { ctx.destroy(ec); }), refused);
  }
  expect_untouched(ctx);
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
    EXPECT_EQ(aio::io_getevents(handle, 1, 2, events.data(), nullptr), -EINTR);
    sigset_t mask;
    sigemptyset(&mask);
    const aio::aio_sigset blocked{.sigmask = &mask, .sigsetsize = 8};
    EXPECT_EQ(aio::io_pgetevents(handle, 1, 2, events.data(), nullptr, &blocked), -EINTR);
    EXPECT_EQ(aio::io_destroy(handle), -EAGAIN);
  }
  expect_untouched(ctx);
}

}  // namespace
