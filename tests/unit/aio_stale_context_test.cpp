// SPDX-License-Identifier: Apache-2.0
//
// An aio::context whose context was destroyed by handle, and whose handle may belong to another context by now.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "support/by_engine.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::error_of;

class aio_stale_context : public testing::Test {
 protected:
  aio_stale_context() {
    const auto handle = ctx_->handle();
    EXPECT_EQ(aio::io_destroy(handle), 0);
    // A handle is the address of a ring, and the kernel soon maps a new ring at the address of the old one.
    for (int tries = 0; tries < 100 && !same_handle_; ++tries) {
      auto next = std::make_unique<aio::context>(8);
      if (next->handle() == handle)
        same_handle_ = std::move(next);
      else
        others_.push_back(std::move(next));
    }
  }

  void expect_every_call_is_refused() {
    const auto refused = std::make_error_code(std::errc::invalid_argument);
    std::array<aio::io_event, 1> events{};
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(ctx_->submit({&read_}, ec), 0U); }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_TRUE(ctx_->get_events(0, events, ec).empty()); }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_TRUE(ctx_->get_events(1, events, 20s, ec).empty()); }), refused);
    EXPECT_EQ(ctx_->read_inline(read_), std::nullopt);
    EXPECT_EQ(error_of([&](auto& ec) { ctx_->cancel(read_, ec); }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(ctx_->descriptor(ec), -1); }), refused);
    EXPECT_EQ(ctx_->handle(), 0U);
    EXPECT_EQ(ctx_->engine(), "");
    EXPECT_EQ(error_of([&](auto& ec) { ctx_->destroy(ec); }), refused);
  }

  doorbell::base::unique_fd file_ = doorbell::test::temporary_file("hello, world");
  std::array<char, 8> text_{};
  aio::iocb read_ = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  std::optional<aio::context> ctx_{std::in_place, 8U};
  std::unique_ptr<aio::context> same_handle_;
  std::vector<std::unique_ptr<aio::context>> others_;
};

TEST_F(aio_stale_context, every_call_is_refused) {
  same_handle_.reset();
  expect_every_call_is_refused();
}

// Oracle: the other context, at the same handle, has neither lost its event nor got a request.
TEST_F(aio_stale_context, every_call_is_refused_though_another_context_has_the_handle) {
  if (!same_handle_) GTEST_SKIP() << "no new context has got the handle";
  ASSERT_EQ(same_handle_->submit({&read_}), 1U);
  expect_every_call_is_refused();
  ctx_.reset();
  std::array<aio::io_event, 2> events{};
  EXPECT_EQ(same_handle_->get_events(1, events, 20s).size(), 1U);
  EXPECT_TRUE(same_handle_->get_events(0, events).empty());
  EXPECT_EQ(same_handle_->submit({&read_}), 1U);
  EXPECT_EQ(same_handle_->get_events(1, events, 20s).size(), 1U);
}

}  // namespace
