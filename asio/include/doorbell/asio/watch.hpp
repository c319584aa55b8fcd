// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::watch: reads the counts of a kernel descriptor in a loop and signals an eventfd with them. The
// descriptor may be a kernel eventfd that another process or a virtual machine monitor writes, a timerfd, or any other
// descriptor from which counts of 8 bytes are read.
//
//   doorbell::asio::watch kicks{io, efd, fd};  // until it ends, the counts of fd are added to the eventfd efd
//
// The sum of the values signalled equals the sum of the counts read: none is lost or delivered twice. If the eventfd is
// full, the rest of a count waits until a reader makes room. Nothing is read meanwhile, so that writers of the
// descriptor have to wait, too. The object takes ownership of the descriptor, as Asio's own objects do; pass a
// duplicate to keep yours. It does not change the flags of the descriptor, since O_NONBLOCK would affect every process
// that shares the open file. It holds a handle on the eventfd, as a writer in the kernel holds a descriptor: the
// eventfd stays open until the watching ends.
//
// The watching ends when the descriptor hangs up or fails; async_wait() then completes. The handle on the eventfd is
// closed at that moment; if it is the last one, listeners of the eventfd receive the hang-up. A running watch counts as
// outstanding work of the loop.
//
// Thread safety: distinct objects may be used concurrently. One object may be used only from one implicit or explicit
// strand. The transfer may run concurrently with these calls, in the threads that run the executor, in one of them at a
// time.
// Lifetime: after close() or the destructor has returned, the eventfd is not signalled any more. The execution context
// may be destroyed first; after that the eventfd is not signalled either.
// In callbacks of notifiers: opening, waiting, cancelling and closing fail with resource_deadlock_would_occur, and the
// destructor of an open object terminates the program. Callbacks of the eventfd run in the loop, like the rest of the
// transfer.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <memory>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/detail/sync/count_source.hpp>
#include <doorbell/asio/detail/sync/source_watch.hpp>
#include <doorbell/asio/detail/sync/with_reason.hpp>
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

  /// A closed object.
  explicit basic_watch(const executor_type& executor) : over_{executor, doorbell::eventfd::closed(), hold_handle} {}

  /// Watches `source` and signals `efd`. Takes ownership of `source`, unless it throws. Errors: as assign().
  basic_watch(const executor_type& executor, doorbell::eventfd efd, native_handle_type source) : basic_watch{executor} {
    assign(std::move(efd), source);
  }

  /// As above, with the executor of an execution context.
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  explicit basic_watch(Context& context) : basic_watch{executor_type{context.get_executor()}} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_watch(Context& context, doorbell::eventfd efd, native_handle_type source)
      : basic_watch{executor_type{context.get_executor()}, std::move(efd), source} {}

  /// The watching continues, and the operations that wait for its end move to the new object. The moved-from object is
  /// closed and keeps its executor.
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
    *this = basic_watch{std::move(other)};
    return *this;
  }

  /// Closes the object. May sleep as close() does.
  ~basic_watch() {
    if (!is_open()) return;
    error_code ec;
    close(ec);
    if (ec)  // the watching would continue, and signal the eventfd after the end of the object
      base::fatal("an asio::watch was destroyed in a callback", "docs/asio.md, Threads");
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return over_.get_executor(); }
  /// Whether the object has a descriptor. Remains true after the watching has ended.
  [[nodiscard]] bool is_open() const noexcept { return watch_ != nullptr; }
  /// The descriptor, which the object still owns; -1 if the object is closed.
  [[nodiscard]] native_handle_type native_handle() { return is_open() ? watch_->source() : -1; }

  /// Starts to watch. Takes ownership of `source`, unless it fails.
  /// Errors: already_open; bad_descriptor for a closed `efd`, or if `source` is no descriptor;
  /// operation_not_permitted for a descriptor that epoll(7) does not support, such as a regular file;
  /// too_many_files_open, not_enough_memory; resource_deadlock_would_occur in a callback.
  void assign(doorbell::eventfd efd, native_handle_type source) {
    error_code ec;
    assign(std::move(efd), source, ec);
    detail::throw_if(ec, "doorbell: watch");
  }
  error_code assign(doorbell::eventfd efd, native_handle_type source, error_code& ec) {
    ec = {};
    if (is_open()) ec = boost::asio::error::already_open;
    if (!efd.is_open()) ec = boost::asio::error::bad_descriptor;
    if (ec || !detail::check_no_callback(ec)) return ec;
    const auto made = std::make_shared<detail::source_watch<executor_type>>(get_executor(), std::move(efd));
    basic_eventfd<executor_type> over{get_executor(), made->over(), listen_only};
    made->start(source, ec);
    if (ec) return ec;
    over_ = std::move(over);
    watch_ = made;
    return ec;
  }

  /// Waits until the watching ends. Completes immediately if it has ended.
  /// @param token of signature void(error_code), with the reason: eof if the descriptor has hung up; bad_message if
  /// a read returned fewer than 8 bytes; errors of read(2); operation_aborted if this wait was cancelled or the object
  /// was closed; bad_descriptor if it was closed before; resource_deadlock_would_occur in a callback.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                WaitToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_wait(WaitToken&& token = {}) {
    return boost::asio::async_initiate<WaitToken, void(error_code)>(initiation{*this}, token);
  }

  /// Ends the operations of async_wait(), with operation_aborted. The watching continues.
  /// Errors: bad_descriptor; resource_deadlock_would_occur in a callback.
  void cancel() {
    error_code ec;
    cancel(ec);
    detail::throw_if(ec, "doorbell: cancel");
  }
  error_code cancel(error_code& ec) { return over_.cancel(ec); }

  /// Ends the watching and closes the descriptor and the handle on the eventfd. After close() has returned, the eventfd
  /// is not signalled any more. So close() may sleep until a transfer that runs in another thread has ended. A count
  /// that has been read and waits for room is signalled; if it still does not fit, the count of the eventfd stops at
  /// 2^64-1, which readers see as POLLERR. Errors: as cancel().
  void close() {
    error_code ec;
    close(ec);
    detail::throw_if(ec, "doorbell: close");
  }
  error_code close(error_code& ec) {
    static_cast<void>(end(ec));
    return ec;
  }

  /// As close(), except that the descriptor stays open.
  /// @return the descriptor, which the caller now owns; -1 if `ec` is set. Errors: as cancel().
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
      self_->over_.async_wait(
          POLLIN, detail::with_reason<std::decay_t<Handler>>{self_->watch_, std::forward<Handler>(handler)});
    }

   private:
    basic_watch* self_;
  };

  /// Ends the watching. @return the source; an empty one if `ec` is set.
  [[nodiscard]] detail::count_source end(error_code& ec) {
    over_.close(ec);
    return ec ? detail::count_source{} : std::exchange(watch_, nullptr)->close();
  }

  basic_eventfd<executor_type> over_;  // listens to watched_source::over(), whose count is above 0 after the end
  std::shared_ptr<detail::watched_source> watch_;
};

/// With any_io_executor, the default executor type.
using watch = basic_watch<>;

}  // namespace doorbell::asio
