// SPDX-License-Identifier: Apache-2.0
//
// loop_executor: the executor of I/O objects that are doorbell's own inside an execution context. It runs what it is given
// where it is given it, and that is: in a thread that runs the context, when the reactor has something. No strand of the
// program's stands between the two, so nobody's files wait for anybody's handler.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <utility>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>

namespace doorbell::asio::detail {

class loop_executor {
 public:
  explicit loop_executor(boost::asio::execution_context& context) noexcept : context_{&context} {}

  [[nodiscard]] boost::asio::execution_context& query(boost::asio::execution::context_t /*what*/) const noexcept {
    return *context_;
  }
  template <class Function>
  void execute(Function&& function) const {
    std::forward<Function>(function)();
  }
  bool operator==(const loop_executor&) const noexcept = default;

 private:
  boost::asio::execution_context* context_;
};

}  // namespace doorbell::asio::detail
