// SPDX-License-Identifier: Apache-2.0
//
// handler_work: where the handler of an operation is called. In most programs this is the io_context of the I/O
// object, whatever type of executor refers to it. Then the thread that runs the io_context calls the handler directly,
// without the executors that any_io_executor would create on the way. The owner of the operation keeps that io_context
// busy, for example by executor_work; handler_work keeps any other executor busy.
//
// Thread safety: not thread-safe; owned by the operation.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <doorbell/asio/detail/support/context_of.hpp>

namespace doorbell::asio::detail {

/// As boost::asio::post(), but directly to the io_context if the executor is one of an io_context.
template <class Executor, class Function>
void post_to(const Executor& executor, Function&& function) {
  if (auto* const loop = loop_of(executor))
    boost::asio::post(loop->get_executor(), std::forward<Function>(function));
  else
    boost::asio::post(executor, std::forward<Function>(function));
}

/// Outstanding work of an executor.
template <class Executor>
class executor_work {
 public:
  explicit executor_work(const Executor& executor) {
    if (auto* const loop = loop_of(executor))
      loop_work_.emplace(loop->get_executor());
    else
      other_work_.emplace(executor);
  }

 private:
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> loop_work_;
  std::optional<boost::asio::executor_work_guard<Executor>> other_work_;
};

/// Whether both are the same object. A handler without an associated executor has the I/O object's.
template <class One, class Other>
[[nodiscard]] constexpr bool is_the_same(const One& one, const Other& other) noexcept {
  if constexpr (std::is_same_v<One, Other>)
    return std::addressof(one) == std::addressof(other);
  else
    return false;
}

template <class HandlerExecutor>
class handler_work {
 public:
  /// @param executor of the handler. @param own the executor of the I/O object.
  template <class Executor>
  handler_work(const HandlerExecutor& executor, const Executor& own) : loop_{loop_of(own)} {
    if (loop_ == nullptr || (!is_the_same(executor, own) && loop_of(executor) != loop_)) elsewhere_.emplace(executor);
  }

  /// Posts the completion.
  template <class Completion>
  void post(Completion&& completion) const {
    if (elsewhere_)
      boost::asio::post(elsewhere_->get_executor(), std::forward<Completion>(completion));
    else
      boost::asio::post(loop_->get_executor(), std::forward<Completion>(completion));
  }

  /// Whether the handler runs in the I/O object's loop. A thread that runs this loop may call the handler directly.
  [[nodiscard]] bool is_the_loop() const noexcept { return !elsewhere_; }

  /// As post(), possibly inline. Only for callers that the I/O object's loop runs.
  template <class Completion>
  void dispatch(Completion&& completion) const {
    if (elsewhere_)
      boost::asio::dispatch(elsewhere_->get_executor(), std::forward<Completion>(completion));
    else
      std::forward<Completion>(completion)();
  }

 private:
  boost::asio::io_context* loop_;
  std::optional<boost::asio::executor_work_guard<HandlerExecutor>> elsewhere_;
};

}  // namespace doorbell::asio::detail
