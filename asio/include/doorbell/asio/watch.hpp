// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::watch: rings an eventfd with what others write to a kernel eventfd: another process, a virtual machine
// monitor, a timerfd; anything that counts of 8 bytes are read from.
//
//   doorbell::asio::watch kicks{io, bell, fd};  // from here to its end, bell counts what fd does
//
// The sum of what is rung is the sum of what is read, nothing lost and nothing twice. When the bell is full, the rest waits
// until a reader has made room, and meanwhile so do the writers over there. The object takes the descriptor over, as Asio's
// own do (a duplicate, if you need to keep yours), reads it and leaves its flags alone: O_NONBLOCK would be everybody's who
// shares it. It holds a handle on the bell, as a writer in the kernel holds a descriptor: while it watches, the bell is open.
//
// The watching is over when the descriptor has hung up or fails, and async_wait() tells so. The handle on the bell is closed
// then, so that whoever listens to the bell gets the hang-up, too, if it was the last. Watching keeps the loop busy, as
// outstanding work.
//
// Thread safety: distinct objects: safe. One object: from one implicit or explicit strand; the ringing itself goes on beside
// that, in the threads that run the executor, one at a time.
// Lifetime: once it is closed or destroyed nothing is rung any more. The execution context may go first; nothing is rung after
// that either.
// In callbacks of notifiers: opening, waiting, cancelling and closing are refused with resource_deadlock_would_occur, and
// destroying an open object ends the program. Callbacks of the bell run in the loop, like all that the ringing does.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <memory>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/count_source.hpp>
#include <doorbell/asio/detail/errors.hpp>
#include <doorbell/asio/detail/source_watch.hpp>
#include <doorbell/asio/detail/told_why.hpp>
#include <doorbell/asio/eventfd.hpp>
#include <doorbell/base/fatal.hpp>
#include <doorbell/eventfd.hpp>

namespace doorbell::asio {

template <class Executor = boost::asio::any_io_executor>
class basic_watch {
 public:
  using executor_type = Executor;
  using native_handle_type = int;
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_watch<Other>;
  };

  /// Closed.
  explicit basic_watch(const executor_type& executor) : over_{executor, doorbell::eventfd::closed(), hold_handle} {}

  /// Watches `source`, and rings `bell`. Takes `source` over, unless it throws. Errors: as assign().
  basic_watch(const executor_type& executor, doorbell::eventfd bell, native_handle_type source)
      : basic_watch{executor} {
    assign(std::move(bell), source);
  }

  /// The same for the executor of an execution context.
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  explicit basic_watch(Context& context) : basic_watch{executor_type{context.get_executor()}} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_watch(Context& context, doorbell::eventfd bell, native_handle_type source)
      : basic_watch{executor_type{context.get_executor()}, std::move(bell), source} {}

  /// The watching goes on, and waits for its end move along. The moved-from object is closed, and keeps its executor.
  basic_watch(basic_watch&& other) noexcept : over_{std::move(other.over_)}, watch_{std::move(other.watch_)} {}
  /// The same from an object with another type of executor, for example by `use_awaitable.as_default_on(object)`.
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_watch(basic_watch<Other>&& other)
      : over_{std::move(other.over_)}, watch_{std::move(other.watch_)} {}

  /// Closes this object first, then moves.
  basic_watch& operator=(basic_watch&& other) noexcept {
    basic_watch taken{std::move(other)};
    std::swap(over_, taken.over_);
    std::swap(watch_, taken.watch_);
    return *this;
  }
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  basic_watch& operator=(basic_watch<Other>&& other) {
    return *this = basic_watch{std::move(other)};
  }

  /// Closes. May sleep as close() does.
  ~basic_watch() {
    if (!is_open()) return;
    error_code ec;
    close(ec);
    if (ec)  // it would signal an eventfd that the program no longer watches
      base::fatal("an asio::watch was destroyed in a callback", "docs/asio.md, Threads");
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return over_.get_executor(); }
  /// Whether there is a descriptor; also when the watching of it is over.
  [[nodiscard]] bool is_open() const noexcept { return watch_ != nullptr; }
  /// -1 when closed. It stays the object's.
  [[nodiscard]] native_handle_type native_handle() { return is_open() ? watch_->source() : -1; }

  /// Begins to watch. Takes `source` over, unless it fails.
  /// Errors: already_open; bad_descriptor for a closed bell, or no descriptor; operation_not_permitted for what cannot be
  /// waited for, such as a file; too_many_files_open, not_enough_memory; resource_deadlock_would_occur in a callback.
  void assign(doorbell::eventfd bell, native_handle_type source) {
    error_code ec;
    assign(std::move(bell), source, ec);
    detail::throw_if(ec, "doorbell: watch");
  }
  error_code assign(doorbell::eventfd bell, native_handle_type source, error_code& ec) {
    ec = {};
    if (is_open()) ec = boost::asio::error::already_open;
    if (!bell.is_open()) ec = boost::asio::error::bad_descriptor;
    if (ec || !detail::check_no_callback(ec)) return ec;
    const auto made = std::make_shared<detail::source_watch<executor_type>>(get_executor(), std::move(bell));
    basic_eventfd<executor_type> over{get_executor(), made->over(), listen_only};
    made->start(source, ec);
    if (ec) return ec;
    over_ = std::move(over);
    watch_ = made;
    return ec;
  }

  /// Waits until the watching is over; at once if it is.
  /// @param token of signature void(error_code), which says why: eof when the descriptor has hung up; bad_message when
  /// fewer than 8 bytes came; what read(2) said; operation_aborted when this wait was cancelled or the object was closed;
  /// bad_descriptor when it was closed before; resource_deadlock_would_occur in a callback.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_wait(WaitToken&& token = {}) {
    return boost::asio::async_initiate<WaitToken, void(error_code)>(initiation{*this}, token);
  }

  /// Ends the waits for the end, with operation_aborted. The watching goes on.
  /// Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
  void cancel() {
    error_code ec;
    cancel(ec);
    detail::throw_if(ec, "doorbell: cancel");
  }
  error_code cancel(error_code& ec) { return over_.cancel(ec); }

  /// Ends the watching and closes the descriptor and the handle on the bell. When it returns nothing is rung any more: it
  /// may sleep, until a ring that is on its way in another thread has come to its end. What had been read and waited for room
  /// is signalled, and the count, if it has no room still, stops at 2^64-1, which the bell's readers see as POLLERR.
  /// Errors: as cancel().
  void close() {
    error_code ec;
    close(ec);
    detail::throw_if(ec, "doorbell: close");
  }
  error_code close(error_code& ec) {
    static_cast<void>(end(ec));
    return ec;
  }

  /// As close(), but that the descriptor stays open.
  /// @return the descriptor, which is the caller's now; -1 when `ec` is set. Errors: as cancel().
  [[nodiscard]] native_handle_type release() {
    error_code ec;
    const auto source = release(ec);
    detail::throw_if(ec, "doorbell: release");
    return source;
  }
  [[nodiscard]] native_handle_type release(error_code& ec) { return end(ec).release(); }

 private:
  template <class>
  friend class basic_watch;

  class initiation {
   public:
    using executor_type = basic_watch::executor_type;

    explicit initiation(basic_watch& self) noexcept : self_{&self} {}
    [[nodiscard]] executor_type get_executor() const noexcept { return self_->get_executor(); }

    template <class Handler>
    void operator()(Handler&& handler) const {
      self_->over_.async_wait(POLLIN,
                              detail::told_why<std::decay_t<Handler>>{self_->watch_, std::forward<Handler>(handler)});
    }

   private:
    basic_watch* self_;
  };

  /// Closes. @return the source, none when `ec` is set.
  [[nodiscard]] detail::count_source end(error_code& ec) {
    over_.close(ec);
    return ec ? detail::count_source{} : std::exchange(watch_, nullptr)->close();
  }

  basic_eventfd<executor_type> over_;  // listens to the count that says that the watching is over
  std::shared_ptr<detail::watched_source> watch_;
};

/// The one for everyday use.
using watch = basic_watch<>;

}  // namespace doorbell::asio
