// SPDX-License-Identifier: Apache-2.0
//
// Events whose waits are asynchronous operations of Boost.Asio: for coroutines and handlers that wait for each other,
// in one loop or in several, and for threads that wake them.
//
//   doorbell::asio::auto_reset_event ready{io};
//   co_await ready.async_wait(use_awaitable);  // ready.set() lets one wait through
//
//   doorbell::asio::manual_reset_event open{io};
//   co_await open.async_wait(use_awaitable);   // open.set() lets all through, until open.reset()
//
// An I/O object on an eventfd of its own, with the operations of basic_eventfd: completion tokens, executors,
// allocators, cancellation slots, outstanding work and errors are as described there. A handler is called by its
// associated executor, which may be another loop than the object's. Neither the function that starts the wait nor the
// one that completes it calls the handler, except that a refused wait may call it through its immediate executor
// (eventfd.hpp).
//
// While an operation waits for an event, the event is not set. Waits complete in the order in which they were started.
// set() of an auto-reset event completes one wait at most:
//
//   first wait           second wait          another thread
//   starts
//                        starts
//   is cancelled                              set()
//   legal:     the cancel is first: the first wait ends with operation_aborted, set() completes the second one.
//   legal:     set() is first: the first wait completes without an error, and the second one still waits.
//   forbidden: the first wait is aborted, and the second one still waits although the event has been set.
//
// Thread safety: all members may be called concurrently, except moving, closing and destroying an object.
// Lifetime: as basic_eventfd. In callbacks of notifiers, set(), reset(), a wait, cancel() and close() are refused with
// resource_deadlock_would_occur.
// Memory ordering: what a thread has done before set() is visible to the handler of the wait that it completes.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <poll.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/eventfd/eventfd_op.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/detail/sync/sync_object.hpp>
#include <doorbell/asio/eventfd.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio {

/// An event that wakes one wait and is then reset. A set() without a wait is stored; further calls of set() then have
/// no effect.
template <class Executor = boost::asio::any_io_executor>
class basic_auto_reset_event : public detail::sync_object<Executor> {
  using base = detail::sync_object<Executor>;

 public:
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_auto_reset_event<Other>;
  };

  /// @param where an executor or an execution context.
  template <detail::executor_or_context<Executor> Where>
  explicit basic_auto_reset_event(Where&& where, bool is_set = false)
      : base{basic_eventfd<Executor>(std::forward<Where>(where), is_set ? 1U : 0U, 0)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_auto_reset_event(basic_auto_reset_event<Other>&& other) : base{std::move(other)} {}

  /// Completes the wait that was started first; if there is none, the next one will complete.
  /// Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
  void set() {
    error_code ec;
    detail::throw_if(set(ec), "doorbell: set");
  }
  error_code set(error_code& ec) {
    return this->change(ec, [](eventfd_ctx& ctx, auto wake) {
      if (wake(1) == 0 && ctx.count() == 0) ctx.signal();
    });
  }

  /// Discards a stored set(). Errors: as set().
  void reset() {
    error_code ec;
    detail::throw_if(reset(ec), "doorbell: reset");
  }
  error_code reset(error_code& ec) {
    return this->change(ec, [](eventfd_ctx& ctx, auto /*wake*/) { ctx.drain(); });
  }

  /// @param token of signature void(error_code): operation_aborted when cancelled, bad_descriptor of a closed object.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<Executor>>
  auto async_wait(WaitToken&& token = {}) {
    return this->template initiate<detail::eventfd_use::acquires, WaitToken>(token, POLLIN);
  }
};

/// An event that wakes all waits, and later ones until it is reset.
template <class Executor = boost::asio::any_io_executor>
class basic_manual_reset_event : public detail::sync_object<Executor> {
  using base = detail::sync_object<Executor>;

 public:
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_manual_reset_event<Other>;
  };

  /// @param where an executor or an execution context.
  template <detail::executor_or_context<Executor> Where>
  explicit basic_manual_reset_event(Where&& where, bool is_set = false)
      : base{basic_eventfd<Executor>(std::forward<Where>(where), is_set ? 1U : 0U, 0)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_manual_reset_event(basic_manual_reset_event<Other>&& other) : base{std::move(other)} {}

  /// Completes all waits, even if reset() follows immediately.
  /// Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
  void set() {
    error_code ec;
    detail::throw_if(set(ec), "doorbell: set");
  }
  error_code set(error_code& ec) {
    return this->change(ec, [](eventfd_ctx& ctx, auto wake) {
      wake(SIZE_MAX);
      if (ctx.count() == 0) ctx.signal();
    });
  }

  /// Waits that are started from now on wait for the next set(). Errors: as set().
  void reset() {
    error_code ec;
    detail::throw_if(reset(ec), "doorbell: reset");
  }
  error_code reset(error_code& ec) {
    return this->change(ec, [](eventfd_ctx& ctx, auto /*wake*/) { ctx.drain(); });
  }

  /// Whether the event was set at some moment during the call; false for a closed object.
  [[nodiscard]] bool is_set() const noexcept {
    const auto ctx = this->eventfd_.context();
    return ctx != nullptr && ctx->count() > 0;
  }

  /// @param token of signature void(error_code): operation_aborted when cancelled, bad_descriptor of a closed object.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<Executor>>
  auto async_wait(WaitToken&& token = {}) {
    return this->template initiate<detail::eventfd_use::waits, WaitToken>(token, POLLIN);
  }
};

/// With any_io_executor, the default executor type.
using auto_reset_event = basic_auto_reset_event<>;
using manual_reset_event = basic_manual_reset_event<>;

}  // namespace doorbell::asio
