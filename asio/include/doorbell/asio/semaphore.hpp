// SPDX-License-Identifier: Apache-2.0
//
// A semaphore whose waits are asynchronous operations of Boost.Asio.
//
//   doorbell::asio::semaphore permits{io, 4};
//   co_await permits.async_acquire(use_awaitable);
//   permits.release();
//
// An I/O object on an eventfd of its own, with the operations of basic_eventfd: completion tokens, executors,
// allocators, cancellation slots, outstanding work and errors are as described there. A handler is called by its
// associated executor, which may be another loop than the object's. Neither the function that starts the wait nor the
// one that completes it calls the handler, except that a refused wait may call it through its immediate executor
// (eventfd.hpp).
//
// Waits complete in the order in which they were started. A waiting operation gets a released permit only while the
// loop of the object runs.
//
// Thread safety: all members may be called concurrently, except moving, closing and destroying an object.
// Lifetime: as basic_eventfd. In callbacks of notifiers, release() is legal; a wait, cancel() and close() are refused
// with resource_deadlock_would_occur, and so is try_acquire(), except in a callback of the semaphore's own eventfd.
// Memory ordering: what a thread has done before release() is visible to the handler of the wait that it completes.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <poll.h>
#include <sys/eventfd.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/eventfd/eventfd_op.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/detail/sync/sync_object.hpp>
#include <doorbell/asio/eventfd.hpp>
#include <doorbell/eventfd.hpp>

namespace doorbell::asio {

/// Permits, which waits acquire one by one: the count of an eventfd with EFD_SEMAPHORE. Plain threads, and semaphores
/// of other loops, may acquire and release permits through a handle.
template <class Executor = boost::asio::any_io_executor>
class basic_semaphore : public detail::sync_object<Executor> {
  using base = detail::sync_object<Executor>;

 public:
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_semaphore<Other>;
  };

  /// @param where an executor or an execution context. @param permits the initial number of permits.
  template <detail::executor_or_context<Executor> Where>
  basic_semaphore(Where&& where, unsigned permits)
      : base{basic_eventfd<Executor>(std::forward<Where>(where), permits, EFD_SEMAPHORE)} {}
  /// Holds `handle` and shares its permits. Errors: invalid_argument unless it has EFD_SEMAPHORE.
  template <detail::executor_or_context<Executor> Where>
  basic_semaphore(Where&& where, doorbell::eventfd handle)
      : base{basic_eventfd<Executor>(std::forward<Where>(where), checked(std::move(handle)), hold_handle)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_semaphore(basic_semaphore<Other>&& other) : base{std::move(other)} {}

  /// A handle on the permits, to be copied. Its read() acquires one permit and sleeps until there is one; its signal()
  /// releases permits.
  [[nodiscard]] const doorbell::eventfd& handle() const noexcept { return this->eventfd_.handle(); }

  /// Adds permits. May be called from any thread and in callbacks. One atomic operation if no operation waits.
  /// Errors: bad_descriptor.
  void release(std::uint64_t permits = 1) { this->eventfd_.signal(permits); }
  void release(std::uint64_t permits, error_code& ec) noexcept { this->eventfd_.signal(permits, ec); }

  /// Takes a permit if there is one. Errors: bad_descriptor; resource_deadlock_would_occur in a callback of
  /// another eventfd.
  [[nodiscard]] bool try_acquire() {
    error_code ec;
    const bool acquired = try_acquire(ec);
    detail::throw_if(ec, "doorbell: try_acquire");
    return acquired;
  }
  [[nodiscard]] bool try_acquire(error_code& ec) {
    const bool acquired = this->eventfd_.read(ec) > 0;
    if (ec == boost::asio::error::would_block) ec = {};
    return acquired;
  }

  /// @param token of signature void(error_code): a permit has been taken if and only if there is no error;
  /// operation_aborted when cancelled, bad_descriptor of a closed object.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                AcquireToken = boost::asio::default_completion_token_t<Executor>>
  auto async_acquire(AcquireToken&& token = {}) {
    return this->template initiate<detail::eventfd_use::acquires, AcquireToken>(token, POLLIN);
  }

 private:
  [[nodiscard]] static doorbell::eventfd&& checked(doorbell::eventfd&& handle) {
    const bool is_semaphore = handle.is_open() && handle.info().semaphore;
    detail::throw_if(is_semaphore ? error_code{} : boost::asio::error::invalid_argument, "doorbell: semaphore");
    return std::move(handle);
  }
};

/// With any_io_executor, the default executor type.
using semaphore = basic_semaphore<>;

}  // namespace doorbell::asio
