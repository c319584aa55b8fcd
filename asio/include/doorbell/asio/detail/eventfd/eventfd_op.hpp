// SPDX-License-Identifier: Apache-2.0
//
// eventfd_op: one asynchronous wait, read or write, from its initiation to its handler.
//
// handler_op.hpp describes its memory. During its lifetime the operation is outstanding work of the I/O object's
// executor and of its handler's executor.
//
// Thread safety: not thread-safe. The operation is owned by the initiating function, then by the list of the
// eventfd_waiter, under its mutex, then by the thread that has removed it from the list.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <cstdint>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/eventfd/eventfd_interest.hpp>
#include <doorbell/asio/detail/support/handler_op.hpp>
#include <doorbell/asio/detail/support/handler_work.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio::detail {

using boost::system::error_code;

/// The effect of an operation on an eventfd that is ready.
enum class eventfd_use {
  waits,     ///< does not change the count
  reads,     ///< takes the value that a read takes
  acquires,  ///< the same, without passing the value to the handler
  writes,    ///< adds to the count
};

class eventfd_op : public boost::intrusive::list_base_hook<> {
 public:
  using value_type = std::uint64_t;

  eventfd_op(const eventfd_op&) = delete;
  eventfd_op& operator=(const eventfd_op&) = delete;

  [[nodiscard]] const eventfd_interest& interest() const noexcept { return interest_; }
  [[nodiscard]] bool is_write() const noexcept { return use_ == eventfd_use::writes; }
  /// Shared by the operations that are bound to one cancellation slot (slot_canceller.hpp); 0 if it is bound to none.
  [[nodiscard]] std::uint64_t cancellation_key() const noexcept { return cancellation_key_; }

  /// Executes the operation if the eventfd is ready for it. After a hang-up every operation ends: a remaining count is
  /// still read, so that it is not lost, and an operation that waits for it succeeds; all others end with eof.
  /// @return whether the operation has ended.
  [[nodiscard]] bool attempt(eventfd_ctx& ctx, bool hung_up) noexcept {
    if (carry_out(ctx, hung_up)) return true;
    if (hung_up) result_ = boost::asio::error::eof;
    return hung_up;
  }

  void fail(error_code why) noexcept { result_ = why; }

  /// Frees the operation and posts its handler, with the result.
  virtual void post() = 0;
  /// The same for a caller that runs in the I/O object's executor: the handler may be called before this returns.
  virtual void dispatch() = 0;
  /// Frees the operation and destroys its handler without calling it.
  virtual void destroy() noexcept = 0;

 protected:
  eventfd_op(eventfd_use use, const eventfd_interest& interest, std::uint64_t cancellation_key) noexcept
      : use_{use}, interest_{interest}, cancellation_key_{cancellation_key} {}
  ~eventfd_op() = default;

  [[nodiscard]] error_code result() const noexcept { return result_; }
  /// The count that was read.
  [[nodiscard]] value_type value() const noexcept { return count_; }

 private:
  [[nodiscard]] bool carry_out(eventfd_ctx& ctx, bool hung_up) noexcept {
    switch (use_) {
      case eventfd_use::reads:
      case eventfd_use::acquires:
        return read(ctx);
      case eventfd_use::writes:
        return write(ctx);
      default:
        return is_ready(ctx, hung_up);
    }
  }

  [[nodiscard]] bool read(eventfd_ctx& ctx) noexcept {
    std::error_code refused;  // drain() fails only in a callback; this is not called in one
    count_ = ctx.drain(refused);
    return count_ > 0;
  }

  // Nothing is added after the last handle has been closed. The write then stays in the list until the hang-up ends it.
  [[nodiscard]] bool write(eventfd_ctx& ctx) const noexcept {
    const eventfd_ctx_walk held{ctx};
    return ctx.is_open() && ctx.add_locked(interest_.room);
  }

  // After a hang-up, waits for POLLOUT end with eof: no handle is left to read the count.
  [[nodiscard]] bool is_ready(const eventfd_ctx& ctx, bool hung_up) const noexcept {
    const auto wanted = hung_up ? interest_.events & ~static_cast<unsigned>(POLLOUT) : interest_.events;
    return (ctx.poll() & wanted) != 0;
  }

  const eventfd_use use_;
  const eventfd_interest interest_;
  const std::uint64_t cancellation_key_;
  error_code result_;
  std::uint64_t count_ = 0;
};

using eventfd_op_list = boost::intrusive::list<eventfd_op>;

template <eventfd_use Use, class Handler>
using eventfd_completion = bound_handler<Use == eventfd_use::reads, Handler, std::uint64_t>;

template <eventfd_use Use, class Handler, class Executor>
class eventfd_op_for final : public handler_op<eventfd_op_for<Use, Handler, Executor>, eventfd_op,
                                               Use == eventfd_use::reads, Handler, Executor, executor_work<Executor>> {
  using base =
      handler_op<eventfd_op_for, eventfd_op, Use == eventfd_use::reads, Handler, Executor, executor_work<Executor>>;
  friend base;

  eventfd_op_for(Handler&& handler, const Executor& executor, const eventfd_interest& interest, std::uint64_t key)
      : base{std::move(handler), executor, Use, interest, key} {}
};

}  // namespace doorbell::asio::detail
