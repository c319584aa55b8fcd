// SPDX-License-Identifier: Apache-2.0
//
// sync_object: the common base of the events, the condition variable and the semaphore: an asio::eventfd, and the
// operations that wait for it. The lock of eventfd_waiter serializes the completion of waits with set(), reset(),
// notify and cancel.
//
// Thread safety: as of basic_auto_reset_event.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/eventfd/eventfd_op.hpp>
#include <doorbell/asio/detail/eventfd/eventfd_waiter.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/eventfd.hpp>

namespace doorbell::asio::detail {

template <class Executor>
class sync_object {
 public:
  using executor_type = Executor;
  using error_code = boost::system::error_code;

  [[nodiscard]] executor_type get_executor() const noexcept { return eventfd_.get_executor(); }
  [[nodiscard]] bool is_open() const noexcept { return eventfd_.is_open(); }

  /// Ends the waiting operations, with operation_aborted. Errors: bad_descriptor; resource_deadlock_would_occur.
  void cancel() { eventfd_.cancel(); }
  error_code cancel(error_code& ec) { return eventfd_.cancel(ec); }
  /// Cancels. Operations that are started later end with bad_descriptor. Errors: as cancel().
  void close() { eventfd_.close(); }
  error_code close(error_code& ec) { return eventfd_.close(ec); }

 protected:
  explicit sync_object(basic_eventfd<Executor>&& eventfd) noexcept : eventfd_{std::move(eventfd)} {}
  sync_object(sync_object&&) noexcept = default;
  template <class Other>
  explicit sync_object(sync_object<Other>&& other) : eventfd_{std::move(other.eventfd_)} {}
  sync_object& operator=(sync_object&&) noexcept = default;
  ~sync_object() = default;

  template <eventfd_use Use, class Handler>
  void start(Handler&& handler, unsigned events) {
    eventfd_.template start<Use, &eventfd_waiter::start_or_finish>(std::forward<Handler>(handler), {.events = events});
  }
  template <eventfd_use Use, class Token>
  auto initiate(std::remove_reference_t<Token>& token, unsigned events) {
    return boost::asio::async_initiate<Token, void(error_code)>(initiation<Use>{*this}, token, events);
  }
  [[nodiscard]] bool can_wait(error_code& ec) const noexcept {
    return eventfd_.check_open(ec) && check_no_callback(ec);
  }

  /// Calls `step(ctx, wake)` with the lock held. wake(n) completes the first n waits and returns the number completed.
  template <class Step>
  error_code change(error_code& ec, const Step& step) {
    if (can_wait(ec)) eventfd_.waiter_->change(step);
    return ec;
  }

  basic_eventfd<Executor> eventfd_;

 private:
  template <class>
  friend class sync_object;

  template <eventfd_use Use>
  class initiation {
   public:
    using executor_type = Executor;

    explicit initiation(sync_object& self) noexcept : self_{&self} {}
    [[nodiscard]] executor_type get_executor() const noexcept { return self_->get_executor(); }

    template <class Handler>
    void operator()(Handler&& handler, unsigned events) const {
      self_->template start<Use>(std::forward<Handler>(handler), events);
    }

   private:
    sync_object* self_;
  };
};

/// An executor of that type, or an execution context with such an executor.
template <class Where, class Executor>
concept executor_or_context = std::constructible_from<basic_eventfd<Executor>, Where, unsigned, int>;

}  // namespace doorbell::asio::detail
