// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/query.hpp>

namespace doorbell::asio::detail {

/// Of either kind that Asio knows.
template <class Executor>
concept an_executor = boost::asio::execution::is_executor<Executor>::value || boost::asio::is_executor<Executor>::value;

/// The execution context that an executor is of.
template <an_executor Executor>
[[nodiscard]] boost::asio::execution_context& context_of(const Executor& executor) {
  if constexpr (boost::asio::execution::is_executor<Executor>::value)
    return boost::asio::query(executor, boost::asio::execution::context);
  else
    return executor.context();
}

}  // namespace doorbell::asio::detail
