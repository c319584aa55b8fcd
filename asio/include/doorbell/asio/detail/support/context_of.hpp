// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/query.hpp>

namespace doorbell::asio::detail {

/// An executor of either of the two models that Asio supports.
template <class Executor>
concept an_executor = boost::asio::execution::is_executor<Executor>::value || boost::asio::is_executor<Executor>::value;

/// The execution context of an executor.
template <an_executor Executor>
[[nodiscard]] boost::asio::execution_context& context_of(const Executor& executor) {
  if constexpr (boost::asio::execution::is_executor<Executor>::value)
    return boost::asio::query(executor, boost::asio::execution::context);
  else
    return executor.context();
}

/// The io_context, if `executor` is a plain executor of an io_context; null for any other executor, such as a strand.
template <class Executor>
[[nodiscard]] boost::asio::io_context* loop_of(const Executor& /*executor*/) noexcept {
  return nullptr;
}
[[nodiscard]] inline boost::asio::io_context* loop_of(const boost::asio::io_context::executor_type& executor) noexcept {
  // equivalent fault (returned): callers then use the executor itself, which takes longer
  return &boost::asio::query(executor, boost::asio::execution::context);
}
[[nodiscard]] inline boost::asio::io_context* loop_of(const boost::asio::any_io_executor& executor) noexcept {
  const auto* const known = executor.target<boost::asio::io_context::executor_type>();
  // equivalent fault (returned): as above
  return known != nullptr ? loop_of(*known) : nullptr;
}

}  // namespace doorbell::asio::detail
