// SPDX-License-Identifier: Apache-2.0
//
// Events, a condition variable and a semaphore whose waits are asynchronous operations of Boost.Asio: for coroutines
// and handlers that wait for each other, in one loop or in several, and for threads that wake them.
//
//   doorbell::asio::auto_reset_event ready{io};      co_await ready.async_wait(use_awaitable);     // ready.set()
//   doorbell::asio::manual_reset_event open{io};  co_await open.async_wait(use_awaitable);  // open.set(), reset()
//   doorbell::asio::semaphore permits{io, 4};  co_await permits.async_acquire(use_awaitable);  // permits.release()
//   doorbell::asio::condition_variable changed{io};
//
//   std::unique_lock lock{mutex};                    // the mutex protects what `is_empty()` reads
//   while (is_empty()) {
//     co_await changed.async_wait(lock, use_awaitable);   // unlocks the mutex once the wait has begun
//     lock.lock();
//   }
//
// Each object is an I/O object on an eventfd of its own, with the operations of basic_eventfd: completion tokens,
// executors, allocators, cancellation slots, outstanding work and errors are as described there. A handler is called by
// its associated executor, which may be another loop than the object's; it is called neither by the function that
// starts the wait nor by the one that completes it. The loop of a semaphore has to run: it passes released permits on.
//
// Whether a wait completes is decided under one lock, with set(), reset(), notify and cancel. While an operation waits
// for an event, the event is not set. Waits complete in the order in which they were started. set() of an auto-reset
// event and notify_one() complete one wait at most:
//
//   first wait           second wait          another thread
//   starts
//                        starts
//   is cancelled                              set()
//   legal:     the cancel is first: the first wait ends with operation_aborted, set() completes the second one.
//   legal:     set() is first: the first wait completes without an error, and the second one still waits.
//   forbidden: the first wait is aborted, and the second one still waits though the event has been set.
//
//   coroutine                                 another thread
//   locks the mutex; is_empty()
//   async_wait() starts the wait
//   unlocks the mutex                         locks the mutex, adds, unlocks
//                                             notify_one() completes the wait
//   legal:     as drawn, and also if the coroutine finds the addition and does not wait.
//   forbidden: the addition and notify_one() come between is_empty() and the start of the wait: the mutex is held
//              there.
//   forbidden: the coroutine runs on in another thread before the first one has unlocked, and both use the unique_lock.
//              async_wait() uses it only before the wait starts, and unlocks the mutex itself.
//
// Thread safety: all members may be called concurrently, except moving, closing and destroying an object.
// Lifetime: as basic_eventfd. In callbacks of notifiers only semaphore::release() is legal; the others are refused with
// resource_deadlock_would_occur.
// Memory ordering: what a thread has done before set(), notify or release() is visible to the handler of the wait that
// it completes.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <poll.h>
#include <sys/eventfd.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/bell_op.hpp>
#include <doorbell/asio/detail/bell_watch.hpp>
#include <doorbell/asio/detail/errors.hpp>
#include <doorbell/asio/eventfd.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio {

namespace detail {

/// What the objects of this header have in common: an asio::eventfd, and the operations that wait for it.
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

  template <bell_use Use, class Handler>
  void start(Handler&& handler, unsigned events) {
    eventfd_.template start<Use, &bell_watch::start_or_finish>(std::forward<Handler>(handler), {.events = events});
  }
  template <bell_use Use, class Token>
  auto initiate(std::remove_reference_t<Token>& token, unsigned events) {
    return boost::asio::async_initiate<Token, void(error_code)>(initiation<Use>{*this}, token, events);
  }
  [[nodiscard]] bool can_wait(error_code& ec) const noexcept {
    return eventfd_.check_open(ec) && check_no_callback(ec);
  }

  /// Calls `step(ctx, wake)` with the lock held; wake(n) completes the first n waits, and returns how many there were.
  template <class Step>
  error_code change(error_code& ec, const Step& step) {
    if (can_wait(ec)) eventfd_.watch_->change(step);
    return ec;
  }

  basic_eventfd<Executor> eventfd_;

 private:
  template <class>
  friend class sync_object;

  template <bell_use Use>
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

/// An executor of that type, or an execution context that has one.
template <class Where, class Executor>
concept executor_or_context = std::constructible_from<basic_eventfd<Executor>, Where, unsigned, int>;

}  // namespace detail

/// An event that wakes one wait and is reset by that. A set() without a wait is stored; further ones then have no
/// effect.
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

  /// Takes a stored set() back. Errors: as set().
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
    return this->template initiate<detail::bell_use::acquires, WaitToken>(token, POLLIN);
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

  /// Completes all waits, though reset() may follow. Errors: bad_descriptor; resource_deadlock_would_occur in a
  /// callback.
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

  /// Whether it is set, as it was at some moment during the call; false for a closed object.
  [[nodiscard]] bool is_set() const noexcept {
    const auto ctx = this->eventfd_.context();
    return ctx != nullptr && ctx->count() > 0;
  }

  /// @param token of signature void(error_code): operation_aborted when cancelled, bad_descriptor of a closed object.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<Executor>>
  auto async_wait(WaitToken&& token = {}) {
    return this->template initiate<detail::bell_use::waits, WaitToken>(token, POLLIN);
  }
};

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
    return this->template initiate<detail::bell_use::waits, WaitToken>(token, never);
  }

  /// Unlocks the mutex when the wait has been started, so that no notify comes in between. The mutex is not locked when
  /// the handler is called, with or without an error.
  /// @param lock which holds its mutex when the operation is initiated; then it is unlocked, and may be locked again by
  /// the handler. If the initiation throws, it still holds the mutex.
  template <class Mutex, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                             WaitToken = boost::asio::default_completion_token_t<Executor>>
  auto async_wait(std::unique_lock<Mutex>& lock, WaitToken&& token = {}) {
    return boost::asio::async_initiate<WaitToken, void(error_code)>(unlocking{*this}, token, &lock);
  }

 private:
  // The count stays 0, so that this never comes.
  static constexpr unsigned never = POLLERR;

  class unlocking {
   public:
    using executor_type = Executor;

    explicit unlocking(basic_condition_variable& self) noexcept : self_{&self} {}
    [[nodiscard]] executor_type get_executor() const noexcept { return self_->get_executor(); }

    // A wait that is refused may call its handler right here.
    template <class Handler, class Mutex>
    void operator()(Handler&& handler, std::unique_lock<Mutex>* lock) const {
      error_code refused;
      std::unique_lock<Mutex> held{*lock->release(), std::adopt_lock};
      *lock = std::unique_lock<Mutex>{*held.mutex(), std::defer_lock};
      if (!self_->can_wait(refused)) held.unlock();
      try {
        self_->template start<detail::bell_use::waits>(std::forward<Handler>(handler), never);
      } catch (...) {
        if (held) *lock = std::move(held);
        throw;
      }
    }

   private:
    basic_condition_variable* self_;
  };
};

/// Permits, which waits acquire one by one: a count of an eventfd with EFD_SEMAPHORE. Others may acquire and release
/// permits by a handle: plain threads, and semaphores of other loops.
template <class Executor = boost::asio::any_io_executor>
class basic_semaphore : public detail::sync_object<Executor> {
  using base = detail::sync_object<Executor>;

 public:
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_semaphore<Other>;
  };

  /// @param where an executor or an execution context. @param permits how many there are at first.
  template <detail::executor_or_context<Executor> Where>
  basic_semaphore(Where&& where, unsigned permits)
      : base{basic_eventfd<Executor>(std::forward<Where>(where), permits, EFD_SEMAPHORE)} {}
  /// Shares the permits of `handle`, and holds it. Errors: invalid_argument unless it has EFD_SEMAPHORE.
  template <detail::executor_or_context<Executor> Where>
  basic_semaphore(Where&& where, doorbell::eventfd handle)
      : base{basic_eventfd<Executor>(std::forward<Where>(where), checked(std::move(handle)), hold_handle)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_semaphore(basic_semaphore<Other>&& other) : base{std::move(other)} {}

  /// A handle on the permits, to be copied: read() acquires one and sleeps until there is one, signal() releases.
  [[nodiscard]] const doorbell::eventfd& handle() const noexcept { return this->eventfd_.bell(); }

  /// Adds permits. From any thread, in callbacks too; one atomic operation when no operation waits.
  /// Errors: bad_descriptor.
  void release(std::uint64_t permits = 1) { this->eventfd_.signal(permits); }
  void release(std::uint64_t permits, error_code& ec) noexcept { this->eventfd_.signal(permits, ec); }

  /// Takes a permit if there is one. Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
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
    return this->template initiate<detail::bell_use::acquires, AcquireToken>(token, POLLIN);
  }

 private:
  [[nodiscard]] static doorbell::eventfd&& checked(doorbell::eventfd&& handle) {
    const bool is_semaphore = handle.is_open() && handle.info().semaphore;
    detail::throw_if(is_semaphore ? error_code{} : boost::asio::error::invalid_argument, "doorbell: semaphore");
    return std::move(handle);
  }
};

/// The ones for everyday use.
using auto_reset_event = basic_auto_reset_event<>;
using manual_reset_event = basic_manual_reset_event<>;
using condition_variable = basic_condition_variable<>;
using semaphore = basic_semaphore<>;

}  // namespace doorbell::asio
