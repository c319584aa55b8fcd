// SPDX-License-Identifier: Apache-2.0
//
// A condition variable whose waits are asynchronous operations of Boost.Asio: for coroutines and handlers of one loop
// or of several.
//
//   doorbell::asio::condition_variable changed{io};
//   std::unique_lock lock{mutex};                         // the mutex protects what is_empty() reads
//   while (is_empty()) {
//     co_await changed.async_wait(lock, use_awaitable);   // unlocks the mutex once the wait has begun
//     lock.lock();
//   }
//
// An I/O object on an eventfd of its own, with the operations of basic_eventfd: completion tokens, executors,
// allocators, cancellation slots, outstanding work and errors are as described there. A handler is called by its
// associated executor, which may be another loop than the object's. Neither the function that starts the wait nor the
// one that completes it calls the handler, except that a refused wait may call it through its immediate executor
// (eventfd.hpp).
//
// Waits complete in the order in which they were started; notify_one() completes one at most.
//
//   coroutine                                 another thread
//   locks the mutex; is_empty()
//   async_wait() starts the wait
//   unlocks the mutex                         locks the mutex, adds, unlocks
//                                             notify_one() completes the wait
//   legal:     as drawn, and also if the coroutine finds the addition and does not wait.
//   forbidden: the addition and notify_one() come between is_empty() and the start of the wait: the mutex is held
//              there.
//   forbidden: the coroutine continues in another thread before the first thread has unlocked, and both use the
//              unique_lock. async_wait() uses it only before the wait starts, and unlocks the mutex itself.
//
// Thread safety: all members may be called concurrently, except moving, closing and destroying an object.
// Lifetime: as basic_eventfd. In callbacks of notifiers, notify_one(), notify_all(), a wait, cancel() and close() are
// refused with resource_deadlock_would_occur.
// Memory ordering: what a thread has done before notify is visible to the handler of the wait that it completes.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <poll.h>

#include <cstdint>
#include <mutex>
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

/// Wakes waits, and stores nothing. No wait completes without a notify, a cancel or a close.
template <class Executor = boost::asio::any_io_executor>
class basic_condition_variable : public detail::sync_object<Executor> {
  using base = detail::sync_object<Executor>;

 public:
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_condition_variable<Other>;
  };

  /// @param where an executor or an execution context.
  template <detail::executor_or_context<Executor> Where>
  explicit basic_condition_variable(Where&& where) : base{basic_eventfd<Executor>(std::forward<Where>(where), 0U, 0)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_condition_variable(basic_condition_variable<Other>&& other) : base{std::move(other)} {}

  /// Completes the wait that was started first. Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
  void notify_one() {
    error_code ec;
    detail::throw_if(notify_one(ec), "doorbell: notify_one");
  }
  error_code notify_one(error_code& ec) {
    return this->change(ec, [](eventfd_ctx& /*ctx*/, auto wake) { wake(1); });
  }
  /// Completes all waits. Errors: as notify_one().
  void notify_all() {
    error_code ec;
    detail::throw_if(notify_all(ec), "doorbell: notify_all");
  }
  error_code notify_all(error_code& ec) {
    return this->change(ec, [](eventfd_ctx& /*ctx*/, auto wake) { wake(SIZE_MAX); });
  }

  /// For callers that need no mutex: those that check the condition, change it and notify in one strand.
  /// @param token of signature void(error_code): operation_aborted when cancelled, bad_descriptor of a closed object.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<Executor>>
  auto async_wait(WaitToken&& token = {}) {
    return this->template initiate<detail::eventfd_use::waits, WaitToken>(token, never);
  }

  /// Unlocks the mutex when the wait has been started, so that no notify comes in between. The mutex is not locked when
  /// the handler is called, with or without an error.
  /// @param lock holds its mutex when the operation is initiated, and is unlocked by the initiation. The handler may
  /// lock it again. If the initiation throws, `lock` still holds the mutex.
  template <class Mutex, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                             WaitToken = boost::asio::default_completion_token_t<Executor>>
  auto async_wait(std::unique_lock<Mutex>& lock, WaitToken&& token = {}) {
    return boost::asio::async_initiate<WaitToken, void(error_code)>(unlocking{*this}, token, &lock);
  }

 private:
  // The count stays 0, so that this event never occurs.
  static constexpr unsigned never = POLLERR;

  class unlocking {
   public:
    using executor_type = Executor;

    explicit unlocking(basic_condition_variable& self) noexcept : self_{&self} {}
    [[nodiscard]] executor_type get_executor() const noexcept { return self_->get_executor(); }

    // A wait that is refused may call its handler inline.
    template <class Handler, class Mutex>
    void operator()(Handler&& handler, std::unique_lock<Mutex>* lock) const {
      error_code refused;
      std::unique_lock<Mutex> held{*lock->release(), std::adopt_lock};
      *lock = std::unique_lock<Mutex>{*held.mutex(), std::defer_lock};
      if (!self_->can_wait(refused)) held.unlock();
      try {
        self_->template start<detail::eventfd_use::waits>(std::forward<Handler>(handler), never);
      } catch (...) {
        if (held) *lock = std::move(held);
        throw;
      }
    }

   private:
    basic_condition_variable* self_;
  };
};

/// With any_io_executor, the default executor type.
using condition_variable = basic_condition_variable<>;

}  // namespace doorbell::asio
