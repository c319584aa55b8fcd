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

#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/errors.hpp>
#include <doorbell/asio/detail/immediate.hpp>
#include <doorbell/asio/detail/source_watch.hpp>
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
  explicit basic_watch(executor_type executor) noexcept : executor_{std::move(executor)} {}

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

  /// The watching goes on. What was moved from is closed, and keeps its executor.
  basic_watch(basic_watch&& other) noexcept : basic_watch{other.executor_} { watch_ = std::move(other.watch_); }
  /// Closes what was here.
  basic_watch& operator=(basic_watch&& other) noexcept {
    basic_watch taken{std::move(other)};
    std::swap(executor_, taken.executor_);
    std::swap(watch_, taken.watch_);
    return *this;
  }

  /// Closes. May sleep as close() does.
  ~basic_watch() {
    if (!is_open()) return;
    error_code ec;
    close(ec);
    if (ec) std::terminate();  // else it would ring on
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }
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
  void assign(doorbell::eventfd bell, native_handle_type source, error_code& ec) {
    ec = {};
    if (is_open()) ec = boost::asio::error::already_open;
    if (!bell.is_open()) ec = boost::asio::error::bad_descriptor;
    if (ec || !detail::check_no_callback(ec)) return;
    auto made = std::make_shared<watch_type>(executor_, std::move(bell));
    made->start(source, ec);
    if (!ec) watch_ = std::move(made);
  }

  /// Waits until the watching is over; at once if it is.
  /// @param token of signature void(error_code), which says why: eof when the descriptor has hung up; bad_message when
  /// fewer than 8 bytes came; what read(2) said; operation_aborted when this wait was cancelled or the object was closed;
  /// bad_descriptor when it was closed before; resource_deadlock_would_occur in a callback.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_wait(WaitToken&& token = {}) {
    return boost::asio::async_compose<WaitToken, void(error_code)>(wait_for_the_end{executor_, watch_}, token,
                                                                   executor_);
  }

  /// Ends the waits for the end, with operation_aborted. The watching goes on.
  /// Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
  void cancel() {
    error_code ec;
    cancel(ec);
    detail::throw_if(ec, "doorbell: cancel");
  }
  void cancel(error_code& ec) {
    if (check_open(ec) && detail::check_no_callback(ec)) watch_->over().cancel(ec);
  }

  /// Ends the watching and closes the descriptor and the handle on the bell. When it returns nothing is rung any more: it
  /// may sleep, until a ring that is on its way in another thread has come to its end. What had been read and waited for room
  /// is signalled, and the count, if it has no room still, stops at 2^64-1, which the bell's readers see as POLLERR.
  /// Errors: as cancel().
  void close() {
    error_code ec;
    close(ec);
    detail::throw_if(ec, "doorbell: close");
  }
  void close(error_code& ec) {
    if (check_open(ec) && detail::check_no_callback(ec)) static_cast<void>(std::exchange(watch_, nullptr)->close());
  }

  /// As close(), but that the descriptor stays open.
  /// @return the descriptor, which is the caller's now; -1 when `ec` is set. Errors: as cancel().
  [[nodiscard]] native_handle_type release() {
    error_code ec;
    const auto source = release(ec);
    detail::throw_if(ec, "doorbell: release");
    return source;
  }
  [[nodiscard]] native_handle_type release(error_code& ec) {
    if (!check_open(ec) || !detail::check_no_callback(ec)) return -1;
    return std::exchange(watch_, nullptr)->close().release();
  }

 private:
  using watch_type = detail::source_watch<executor_type>;

  // Starts in the initiating function, which calls the handler only if that is bound to an immediate executor.
  struct wait_for_the_end {
    executor_type executor;
    std::shared_ptr<watch_type> watch;
    bool begun = false;

    template <class Self>
    void operator()(Self& self, error_code ec = {}) {
      if (std::exchange(begun, true)) return self.complete(why(ec));
      const auto waited_for = watch;
      if (waited_for != nullptr)
        waited_for->over().async_wait(POLLIN, std::move(self));
      else
        detail::complete_immediately(executor_type{executor}, std::move(self));
    }

    [[nodiscard]] error_code why(error_code ec) const {
      if (ec) return ec;
      return watch != nullptr ? watch->why() : boost::asio::error::bad_descriptor;
    }
  };

  [[nodiscard]] bool check_open(error_code& ec) const noexcept { return detail::check_open(is_open(), ec); }

  executor_type executor_;
  std::shared_ptr<watch_type> watch_;
};

/// The one for everyday use.
using watch = basic_watch<>;

}  // namespace doorbell::asio
