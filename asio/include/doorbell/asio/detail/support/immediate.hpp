// SPDX-License-Identifier: Apache-2.0
//
// The completion of an operation that ends in its initiating function. A handler that is bound to an immediate executor
// (boost::asio::bind_immediate_executor, Boost 1.82 and later) is submitted to that executor, as if by dispatch(). The
// executor may call the handler before the initiating function returns. Every other handler is posted.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <type_traits>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#if __has_include(<boost/asio/associated_immediate_executor.hpp>)
#include <boost/asio/associated_immediate_executor.hpp>
#define DOORBELL_ASIO_HAS_IMMEDIATE_EXECUTORS 1
#else
#define DOORBELL_ASIO_HAS_IMMEDIATE_EXECUTORS 0
#endif

#include <doorbell/asio/detail/support/inline_executor.hpp>

namespace doorbell::asio::detail {

#if DOORBELL_ASIO_HAS_IMMEDIATE_EXECUTORS
struct bound_to_nothing {};

// Boost.Asio derives the immediate executor of an unbound handler from the I/O object's executor. Programs cannot bind
// a handler to an executor derived from inline_executor. A handler is therefore bound to an immediate executor if the
// type of its immediate executor differs from the derived type.
template <class Handler>
inline constexpr bool has_immediate_executor =
    !std::is_same_v<boost::asio::associated_immediate_executor_t<Handler, inline_executor>,
                    boost::asio::associated_immediate_executor_t<bound_to_nothing, inline_executor>>;

template <class Handler>
inline constexpr bool has_executor =
    !std::is_same_v<boost::asio::associated_executor_t<Handler, inline_executor>, inline_executor>;

/// Submits the completion of an operation to the immediate executor that its handler is bound to. Creates no operation
/// object: that would count as outstanding work, and the loop would stop when the work ends outside run().
/// @param executor the executor of the I/O object.
/// @param completion a function object with the member handler().
template <class Executor, class Completion>
void dispatch_immediately(const Executor& executor, Completion completion) {
  const auto& handler = completion.handler();
  const auto immediate = boost::asio::get_associated_immediate_executor(handler, executor);
  if constexpr (has_executor<std::decay_t<decltype(handler)>>) {
    const auto bound_to = boost::asio::get_associated_executor(handler);
    boost::asio::dispatch(immediate, boost::asio::bind_executor(bound_to, std::move(completion)));
  } else {
    boost::asio::dispatch(immediate, std::move(completion));
  }
}
#else
template <class Handler>
inline constexpr bool has_immediate_executor = false;
template <class Executor, class Completion>
void dispatch_immediately(const Executor& executor, Completion completion) = delete;
#endif

/// Completes a composed operation that ends before it has started any other operation. Submits it to the immediate
/// executor that its handler is bound to; otherwise posts it.
/// @param executor the executor of the I/O object.
template <class Executor, class Operation>
void complete_immediately(const Executor& executor, Operation&& operation) {
#if DOORBELL_ASIO_HAS_IMMEDIATE_EXECUTORS
  if constexpr (has_immediate_executor<std::decay_t<Operation>>) {
    const auto immediate = boost::asio::get_associated_immediate_executor(operation, executor);
    return boost::asio::dispatch(immediate, std::forward<Operation>(operation));
  }
#endif
  boost::asio::post(executor, std::forward<Operation>(operation));
}

}  // namespace doorbell::asio::detail
