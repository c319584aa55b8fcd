// SPDX-License-Identifier: Apache-2.0
//
// inline_executor: the executor of the I/O objects that doorbell uses internally in an execution context. It runs each
// function inline. This is always in a thread that runs the context, because the reactor calls it. No strand of the
// program is involved, so the operations of one file do not wait for handlers of others.
//
// Boost 1.82 and later derive the immediate executor of each I/O object from its executor, by requiring
// blocking.never. never_blocking is that form: it runs a function in a thread that runs the context, and never inside
// execute().
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <cstddef>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/system/error_code.hpp>

namespace doorbell::asio::detail {

class inline_executor {
 public:
  class never_blocking;

  explicit inline_executor(boost::asio::execution_context& context) noexcept : context_{&context} {}

  [[nodiscard]] boost::asio::execution_context& query(boost::asio::execution::context_t /*what*/) const noexcept {
    return *context_;
  }
  [[nodiscard]] static constexpr boost::asio::execution::blocking_t query(
      boost::asio::execution::blocking_t /*what*/) noexcept {
    return boost::asio::execution::blocking_t::always;
  }
  [[nodiscard]] never_blocking require(boost::asio::execution::blocking_t::never_t /*what*/) const noexcept;

  template <class Function>
  void execute(Function&& function) const {
    std::forward<Function>(function)();
  }
  bool operator==(const inline_executor&) const noexcept = default;

 private:
  boost::asio::execution_context* context_;
};

class inline_executor::never_blocking {
 public:
  explicit never_blocking(const inline_executor& runs) noexcept : runs_{runs} {}

  [[nodiscard]] boost::asio::execution_context& query(boost::asio::execution::context_t what) const noexcept {
    return runs_.query(what);
  }
  [[nodiscard]] static constexpr boost::asio::execution::blocking_t query(
      boost::asio::execution::blocking_t /*what*/) noexcept {
    return boost::asio::execution::blocking_t::never;
  }

  /// Posts the function to the context, as the handler of a read from a descriptor that is not open, which completes in
  /// the loop. This works with every execution context that has a reactor.
  template <class Function>
  void execute(Function&& function) const {
    boost::asio::posix::basic_stream_descriptor<inline_executor> closed{runs_};
    closed.async_read_some(boost::asio::mutable_buffer{}, [run = std::forward<Function>(function)](
                                                              const boost::system::error_code& /*ec*/,
                                                              std::size_t /*bytes*/) mutable { std::move(run)(); });
  }
  bool operator==(const never_blocking&) const noexcept = default;

 private:
  inline_executor runs_;
};

inline inline_executor::never_blocking inline_executor::require(
    boost::asio::execution::blocking_t::never_t /*what*/) const noexcept {
  return never_blocking{*this};
}

}  // namespace doorbell::asio::detail
