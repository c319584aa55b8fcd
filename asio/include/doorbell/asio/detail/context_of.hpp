// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/query.hpp>

namespace doorbell::asio::detail {

/// The execution context of an executor, of either kind that Asio knows.
template <class Executor>
[[nodiscard]] boost::asio::execution_context& context_of(const Executor& executor) {
  if constexpr (boost::asio::execution::is_executor<Executor>::value)
    return boost::asio::query(executor, boost::asio::execution::context);
  else
    return executor.context();
}

}  // namespace doorbell::asio::detail
