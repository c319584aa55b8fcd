// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <system_error>

#include <doorbell/aio.hpp>

namespace doorbell::test {

/// From now on the context's io_uring, if it has one, may execute requests of any submitting thread, as in a program
/// whose loop waits for the descriptor.
inline void let_ring_have_requests(const aio::context& ctx) {
  std::error_code ec;
  EXPECT_GE(ctx.descriptor(ec), 0) << ec.message();
}

}  // namespace doorbell::test
