// SPDX-License-Identifier: Apache-2.0
//
// Immediate executors, where the Boost in use has them.
#pragma once

#if __has_include(<boost/asio/bind_immediate_executor.hpp>)
#include <boost/asio/bind_immediate_executor.hpp>
#include <boost/asio/system_executor.hpp>
#define DOORBELL_TEST_HAS_IMMEDIATE_EXECUTORS 1
#else
#define DOORBELL_TEST_HAS_IMMEDIATE_EXECUTORS 0
#endif

#include <utility>

namespace doorbell::test {

/// Binds a handler to an immediate executor, which calls it in the function that starts the operation if that completes
/// the operation. With a Boost before 1.82 it returns the handler itself.
template <class Handler>
[[nodiscard]] auto immediately(Handler handler) {
#if DOORBELL_TEST_HAS_IMMEDIATE_EXECUTORS
  return boost::asio::bind_immediate_executor(boost::asio::system_executor{}, std::move(handler));
#else
  return handler;
#endif
}

}  // namespace doorbell::test
