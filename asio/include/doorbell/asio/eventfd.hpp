// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::eventfd: an eventfd as an I/O object of Boost.Asio, with asynchronous waits, reads and writes.
//
//   doorbell::asio::eventfd created{io};                         // creates an eventfd; created.handle() is its handle
//   doorbell::asio::eventfd permits{io, 2, EFD_SEMAPHORE};       // the same, with an initial count and flags
//   doorbell::asio::eventfd listener{io, handle, listen_only};   // listens to the eventfd of `handle`
//   doorbell::asio::eventfd holder{io, handle, hold_handle};     // the same, and holds a handle: here a copy
//
// (The tags are doorbell::asio::listen_only and doorbell::asio::hold_handle. Without a tag, a handle that is passed as
// an rvalue is held, and an lvalue is only listened to.)
//
// Ownership: an object that holds a handle keeps the eventfd open, as any other handle does. A listener keeps only the
// memory of the eventfd. After the last handle has been closed, reads of a listener still return the remaining count,
// and then every operation ends with boost::asio::error::eof.
//
// Handlers are called from the executor, never inside the initiating function and never in the signaller's thread, with
// one exception: if the initiating function refuses the operation, a handler that is bound to an immediate executor
// (boost::asio::bind_immediate_executor, Boost 1.82 and later) is submitted to that executor. All signals that arrive
// before the loop runs cause one wakeup of the loop, and the counts that are read add up to the values signalled.
// Outstanding reads complete in the order in which they were started, and so do writes. Associated executors,
// allocators and cancellation slots are honoured. A slot accepts every type of cancellation, since an operation has no
// effect before it completes. One slot may be bound to several operations of one object; its signal ends all of them.
// If the operations belong to different objects, the signal ends only those on the object of the last one, since a slot
// holds one function object. Waiting operations count as outstanding work of the loop.
//
// Thread safety: all members may be called concurrently, except moving, closing and destroying one object. Those
// exclude every other use of that object, as with Asio's own objects.
// Lifetime: the object is destroyed before its execution context, or by the shutdown of that context. The destructor
// cancels the waiting operations.
// In callbacks of notifiers: signal() is legal. Starting an operation, cancelling and closing take locks that must not
// be taken in a callback. They fail with resource_deadlock_would_occur; the destructor of an open object terminates the
// program. Post these calls to the loop instead.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <cstdint>
#include <memory>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/eventfd/eventfd_op.hpp>
#include <doorbell/asio/detail/eventfd/eventfd_waiter.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/detail/support/immediate.hpp>
#include <doorbell/asio/detail/support/slot_canceller.hpp>
#include <doorbell/base/fatal.hpp>
#include <doorbell/eventfd.hpp>

namespace doorbell::asio {

namespace detail {
template <class Executor>
class sync_object;
}

/// Tag: the I/O object listens to an eventfd and holds no handle on it.
struct listen_only_t {
  explicit listen_only_t() = default;
};
inline constexpr listen_only_t listen_only{};

/// Tag: the I/O object holds a handle on an eventfd: the argument if it is an rvalue, or a copy of it.
struct hold_handle_t {
  explicit hold_handle_t() = default;
};
inline constexpr hold_handle_t hold_handle{};

template <class Executor = boost::asio::any_io_executor>
class basic_eventfd {
 public:
  using executor_type = Executor;
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_eventfd<Other>;
  };

  /// Events for async_wait(), which always waits for errors too.
  static constexpr unsigned wait_read = POLLIN;
  static constexpr unsigned wait_write = POLLOUT;
  static constexpr unsigned wait_error = POLLERR;

  /// Creates an eventfd, and holds its first handle.
  /// @param initial the initial count. @param flags EFD_CLOEXEC and EFD_NONBLOCK (no effect), EFD_SEMAPHORE.
  /// Errors: invalid_argument for other flags; not_enough_memory.
  explicit basic_eventfd(const executor_type& executor, unsigned initial = 0, int flags = 0)
      : basic_eventfd{executor, make_handle(initial, flags), hold_handle} {}

  /// Listens to the eventfd of `shared`, and holds no handle on it. If `shared` is closed, so is the object.
  basic_eventfd(const executor_type& executor, const doorbell::eventfd& shared, listen_only_t /*tag*/)
      : executor_{executor}, waiter_{make_waiter(executor, shared)} {}
  /// Deleted: the temporary handle would be closed at the end of the expression, possibly as the last handle.
  basic_eventfd(const executor_type& executor, doorbell::eventfd&& temporary, listen_only_t tag) = delete;

  /// Holds `handle`; an lvalue is copied. If `handle` is closed, so is the object.
  basic_eventfd(const executor_type& executor, doorbell::eventfd handle, hold_handle_t /*tag*/)
      : executor_{executor}, efd_{std::move(handle)}, waiter_{make_waiter(executor, efd_)} {}

  /// As with listen_only.
  basic_eventfd(const executor_type& executor, const doorbell::eventfd& shared)
      : basic_eventfd{executor, shared, listen_only} {}
  /// As with hold_handle.
  basic_eventfd(const executor_type& executor, doorbell::eventfd&& handle)
      : basic_eventfd{executor, std::move(handle), hold_handle} {}

  /// As above, with the executor of an execution context.
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  explicit basic_eventfd(Context& context, unsigned initial = 0, int flags = 0)
      : basic_eventfd{executor_type{context.get_executor()}, initial, flags} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_eventfd(Context& context, const doorbell::eventfd& shared, listen_only_t tag)
      : basic_eventfd{executor_type{context.get_executor()}, shared, tag} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_eventfd(Context& context, doorbell::eventfd&& temporary, listen_only_t tag) = delete;
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_eventfd(Context& context, doorbell::eventfd handle, hold_handle_t tag)
      : basic_eventfd{executor_type{context.get_executor()}, std::move(handle), tag} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_eventfd(Context& context, const doorbell::eventfd& shared)
      : basic_eventfd{executor_type{context.get_executor()}, shared} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_eventfd(Context& context, doorbell::eventfd&& handle)
      : basic_eventfd{executor_type{context.get_executor()}, std::move(handle)} {}

  /// Waiting operations move to the new object. The moved-from object is closed and keeps its executor.
  basic_eventfd(basic_eventfd&& other) noexcept
      : basic_eventfd{other.executor_, std::move(other.efd_), std::move(other.waiter_)} {}
  /// The same from an object with another type of executor, for example by `use_awaitable.as_default_on(object)`.
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_eventfd(basic_eventfd<Other>&& other)
      : basic_eventfd{executor_type(other.executor_), std::move(other.efd_), std::move(other.waiter_)} {}

  /// Closes this object first, then moves.
  basic_eventfd& operator=(basic_eventfd&& other) noexcept {
    basic_eventfd taken{std::move(other)};
    std::swap(executor_, taken.executor_);
    std::swap(efd_, taken.efd_);
    std::swap(waiter_, taken.waiter_);
    return *this;
  }
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  basic_eventfd& operator=(basic_eventfd<Other>&& other) {
    *this = basic_eventfd{std::move(other)};
    return *this;
  }

  /// Closes the object. May sleep until a running wake function of this object has ended and has posted to the loop.
  ~basic_eventfd() {
    if (!is_open()) return;
    error_code ec;
    close(ec);
    if (ec)  // its entry would stay in the wait queue after the end of the object
      base::fatal("an asio::eventfd was destroyed in a callback", "docs/asio.md, Threads");
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }
  [[nodiscard]] bool is_open() const noexcept { return waiter_ != nullptr; }

  /// The handle that this object holds, to be copied for signallers; a closed handle if the object only listens.
  [[nodiscard]] const doorbell::eventfd& handle() const noexcept { return efd_; }
  /// The eventfd; null if the object is closed. The pointer keeps the memory, but does not keep the eventfd open.
  [[nodiscard]] eventfd_ctx_ptr context() const noexcept {
    return waiter_ != nullptr ? eventfd_ctx_ptr{&waiter_->ctx()} : nullptr;
  }

  /// Adds `n` to the count; see eventfd_ctx::signal. May be called from any thread and in callbacks.
  /// Errors: bad_descriptor if the object is closed.
  void signal(std::uint64_t n = 1) const {
    error_code ec;
    signal(n, ec);
    detail::throw_if(ec, "doorbell: signal");
  }
  void signal(std::uint64_t n, error_code& ec) const noexcept {
    if (check_open(ec)) waiter_->ctx().signal(n);
  }

  /// Takes the count (1 from a semaphore), regardless of the flags of the eventfd. Never waits for a signal.
  /// Errors: would_block if the count is 0; bad_descriptor if the object is closed; resource_deadlock_would_occur in a
  /// callback of another eventfd.
  std::uint64_t read() const {
    error_code ec;
    const auto count = read(ec);
    detail::throw_if(ec, "doorbell: read");
    return count;
  }
  std::uint64_t read(error_code& ec) const noexcept {
    if (!check_open(ec)) return 0;
    std::error_code refused;
    const auto count = waiter_->ctx().drain(refused);
    if (refused)  // in a callback of another eventfd
      std::ignore = detail::check_no_callback(ec);
    else if (count == 0)
      ec = boost::asio::error::would_block;
    return count;
  }

  /// Waits until the eventfd is ready for one of `events` or is in error. Completes immediately if it is. Does not
  /// change the count, which may have changed again by the time the handler is called.
  /// @param events a combination of wait_read, wait_write and wait_error (POLLIN, POLLOUT, POLLERR); 0 waits for an
  /// error or the hang-up.
  /// @param token of signature void(error_code): operation_aborted if cancelled; eof if all handles are closed (and,
  /// for wait_read, the count is 0); bad_descriptor if the object is closed.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_wait(unsigned events, WaitToken&& token = {}) {
    return initiate<detail::eventfd_use::waits, WaitToken, void(error_code)>(token, {.events = events | wait_error});
  }

  /// Waits until the count is above 0 and takes it, or 1 from a semaphore.
  /// @param token of signature void(error_code, std::uint64_t): the value taken, above 0 if and only if there is no
  /// error; errors as in async_wait().
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::uint64_t))
                ReadToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_read(ReadToken&& token = {}) {
    return initiate<detail::eventfd_use::reads, ReadToken, void(error_code, std::uint64_t)>(token,
                                                                                            {.events = wait_read});
  }

  /// Waits until `n` can be added with the count below 2^64-1, and adds it, as a blocking write(2) does, regardless of
  /// the flags of the eventfd. Wakes waiters for POLLIN, also if `n` is 0. Writes of one object are executed in the
  /// order in which they were started: a write that does not fit yet delays the later writes of this object. Writes of
  /// different objects are executed as they fit.
  /// @param token of signature void(error_code): `n` has been added if and only if there is no error; invalid_argument
  /// for 2^64-1, which never fits; eof if all handles are closed, even if `n` would fit; otherwise as in async_wait().
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WriteToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_write(std::uint64_t n, WriteToken&& token = {}) {
    return initiate<detail::eventfd_use::writes, WriteToken, void(error_code)>(token, {.room = n});
  }

  /// Ends the waiting operations, with operation_aborted. Has no effect on an operation that has completed but whose
  /// handler has not been called yet. Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
  void cancel() {
    error_code ec;
    cancel(ec);
    detail::throw_if(ec, "doorbell: cancel");
  }
  error_code cancel(error_code& ec) {
    if (check_open(ec) && detail::check_no_callback(ec)) waiter_->cancel();
    return ec;
  }

  /// Cancels, stops listening and closes the handle if the object holds one. Closing the last handle delivers the
  /// hang-up in the calling thread. Errors: as cancel().
  void close() {
    error_code ec;
    close(ec);
    detail::throw_if(ec, "doorbell: close");
  }
  error_code close(error_code& ec) {
    if (!check_open(ec) || !detail::check_no_callback(ec)) return ec;
    std::exchange(waiter_, nullptr)->close();
    std::error_code never_had_one;
    efd_.close(never_had_one);
    return ec;
  }

  /// Opens a closed object, as the constructors with the same tag do.
  /// Errors: already_open; bad_descriptor for a closed handle. If memory is exhausted, throws std::bad_alloc.
  void assign(const doorbell::eventfd& shared, listen_only_t tag) {
    error_code ec;
    assign(shared, tag, ec);
    detail::throw_if(ec, "doorbell: assign");
  }
  error_code assign(const doorbell::eventfd& shared, listen_only_t /*tag*/, error_code& ec) {
    if (check_assignable(shared, ec)) waiter_ = make_waiter(executor_, shared);
    return ec;
  }
  void assign(doorbell::eventfd&& temporary, listen_only_t tag) = delete;
  error_code assign(doorbell::eventfd&& temporary, listen_only_t tag, error_code& ec) = delete;
  void assign(doorbell::eventfd handle, hold_handle_t tag) {
    error_code ec;
    assign(std::move(handle), tag, ec);
    detail::throw_if(ec, "doorbell: assign");
  }
  error_code assign(doorbell::eventfd handle, hold_handle_t /*tag*/, error_code& ec) {
    if (!check_assignable(handle, ec)) return ec;
    waiter_ = make_waiter(executor_, handle);
    efd_ = std::move(handle);
    return ec;
  }

  /// As close(), except that the handle stays open.
  /// @return the handle, which the caller now holds; a closed handle if the object only listened, or if `ec` is set.
  /// Errors: as cancel().
  [[nodiscard]] doorbell::eventfd release() {
    error_code ec;
    auto handle = release(ec);
    detail::throw_if(ec, "doorbell: release");
    return handle;
  }
  [[nodiscard]] doorbell::eventfd release(error_code& ec) {
    if (!check_open(ec) || !detail::check_no_callback(ec)) return doorbell::eventfd::closed();
    std::exchange(waiter_, nullptr)->close();
    return std::exchange(efd_, doorbell::eventfd::closed());
  }

 private:
  template <class>
  friend class basic_eventfd;
  template <class>
  friend class detail::sync_object;

  using waiter_pointer = std::shared_ptr<detail::eventfd_waiter>;

  basic_eventfd(executor_type executor, doorbell::eventfd&& handle, waiter_pointer&& waiter) noexcept
      : executor_{std::move(executor)}, efd_{std::move(handle)}, waiter_{std::move(waiter)} {}

  template <detail::eventfd_use Use>
  class initiation {
   public:
    using executor_type = basic_eventfd::executor_type;

    explicit initiation(basic_eventfd& self) noexcept : self_{&self} {}
    [[nodiscard]] executor_type get_executor() const noexcept { return self_->get_executor(); }

    template <class Handler>
    void operator()(Handler&& handler, const detail::eventfd_interest& interest) const {
      self_->template start<Use>(std::forward<Handler>(handler), interest);
    }

   private:
    basic_eventfd* self_;
  };

  template <detail::eventfd_use Use, class Token, class Signature>
  auto initiate(std::remove_reference_t<Token>& token, const detail::eventfd_interest& interest) {
    return boost::asio::async_initiate<Token, Signature>(initiation<Use>{*this}, token, interest);
  }

  template <detail::eventfd_use Use, auto Start = &detail::eventfd_waiter::start, class Handler>
  void start(Handler&& handler, const detail::eventfd_interest& interest) {
    using handler_type = std::decay_t<Handler>;
    error_code ec;
    const bool is_possible = check_open(ec) && detail::check_no_callback(ec) && check_possible(interest, ec);
    if constexpr (detail::has_immediate_executor<handler_type>) {
      using completion = detail::eventfd_completion<Use, handler_type>;
      if (!is_possible)
        return detail::dispatch_immediately(executor_, completion{handler_type(std::forward<Handler>(handler)), ec, 0});
    }
    using op_type = detail::eventfd_op_for<Use, handler_type, executor_type>;
    const auto key = is_possible ? connect(boost::asio::get_associated_cancellation_slot(handler)) : 0;
    auto& op = op_type::make(std::forward<Handler>(handler), executor_, interest, key);
    if (is_possible) return ((*waiter_).*Start)(op);
    op.fail(ec);
    op.post();
  }

  template <class Slot>
  [[nodiscard]] std::uint64_t connect(Slot slot) const {
    return detail::connect_to_slot(slot, waiter_);
  }

  [[nodiscard]] static doorbell::eventfd make_handle(unsigned initial, int flags) {
    std::error_code ec;
    doorbell::eventfd made{initial, flags, ec};
    detail::throw_if(ec, "doorbell: eventfd");
    return made;
  }
  [[nodiscard]] static waiter_pointer make_waiter(const executor_type& executor, const doorbell::eventfd& handle) {
    auto* const ctx = handle.unreferenced_context();
    return ctx != nullptr ? detail::eventfd_waiter_on<executor_type>::make(executor, *ctx) : nullptr;
  }

  [[nodiscard]] bool check_open(error_code& ec) const noexcept { return detail::check_open(is_open(), ec); }
  [[nodiscard]] bool check_assignable(const doorbell::eventfd& handle, error_code& ec) const noexcept {
    ec = {};
    if (!handle.is_open()) ec = boost::asio::error::bad_descriptor;
    if (is_open()) ec = boost::asio::error::already_open;
    return !ec;
  }
  [[nodiscard]] static bool check_possible(const detail::eventfd_interest& interest, error_code& ec) noexcept {
    if (interest.is_none()) ec = boost::asio::error::invalid_argument;
    return !ec;
  }

  executor_type executor_;
  doorbell::eventfd efd_ = doorbell::eventfd::closed();
  waiter_pointer waiter_;
};

/// With any_io_executor, the default executor type.
using eventfd = basic_eventfd<>;

}  // namespace doorbell::asio
