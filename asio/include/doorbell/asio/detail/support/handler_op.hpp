// SPDX-License-Identifier: Apache-2.0
//
// handler_op: an operation together with its handler, and the memory of both.
//
// The memory comes from the handler's associated allocator (op_allocator.hpp). It is freed before the handler is
// called, so that a handler that starts the next operation gets the same memory again. During its lifetime the
// operation is outstanding work of its handler's executor.
//
// Thread safety: not thread-safe; see the operation.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <memory>
#include <utility>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/support/handler_work.hpp>
#include <doorbell/asio/detail/support/op_allocator.hpp>

namespace doorbell::asio::detail {

/// @tparam HasValue whether the handler takes a value beside the error.
template <bool HasValue, class Handler, class Value>
void call_handler(Handler&& handler, const boost::system::error_code& result, Value value) {
  if constexpr (HasValue)
    std::forward<Handler>(handler)(result, value);
  else
    std::forward<Handler>(handler)(result);
}

/// A handler bound to its arguments.
template <bool HasValue, class Handler, class Value>
class bound_handler {
 public:
  using allocator_type = boost::asio::associated_allocator_t<Handler>;

  bound_handler(Handler&& handler, boost::system::error_code result, Value value)
      : handler_{std::move(handler)}, result_{result}, value_{value} {}

  [[nodiscard]] allocator_type get_allocator() const noexcept {
    return boost::asio::get_associated_allocator(handler_);
  }

  [[nodiscard]] const Handler& handler() const noexcept { return handler_; }

  void operator()() { call_handler<HasValue>(std::move(handler_), result_, value_); }

 private:
  Handler handler_;
  boost::system::error_code result_;
  Value value_;
};

/// For operations that are no outstanding work of the I/O object's executor.
struct no_work {
  template <class Executor>
  explicit no_work(const Executor& /*executor*/) noexcept {}
};

/// @tparam Derived the final class, which befriends this one. @tparam Op the operation: has value_type, result() and
/// value(), and the pure functions post(), dispatch() and destroy(). @tparam Work outstanding work of the I/O object's
/// executor, or no_work.
template <class Derived, class Op, bool HasValue, class Handler, class Executor, class Work>
class handler_op : public Op {
 public:
  /// @param executor of the I/O object. @param arguments of Op's constructor.
  template <class... Arguments>
  [[nodiscard]] static Derived& make(Handler handler, const Executor& executor, const Arguments&... arguments) {
    allocator memory{allocator_for(handler)};
    auto* place = traits::allocate(memory, 1);
    try {
      return *new (place) Derived{std::move(handler), executor, arguments...};
    } catch (...) {
      traits::deallocate(memory, place, 1);
      throw;
    }
  }

  void post() override {
    finish([](const auto& where_to, auto completion) { where_to.post(std::move(completion)); });
  }
  void dispatch() override {
    if (!place_.is_the_loop())
      return finish([](const auto& where_to, auto completion) { where_to.dispatch(std::move(completion)); });
    const auto why = this->result();
    const auto value = this->value();
    call_handler<HasValue>(free(), why, value);
  }
  void destroy() noexcept override { [[maybe_unused]] const auto handler = free(); }

 protected:
  template <class... Arguments>
  handler_op(Handler&& handler, const Executor& executor, const Arguments&... arguments)
      : Op{arguments...},
        place_{boost::asio::get_associated_executor(handler, executor), executor},
        work_{executor},
        handler_{std::move(handler)} {}
  ~handler_op() = default;

 private:
  using handler_executor = boost::asio::associated_executor_t<Handler, Executor>;
  using allocator = typename std::allocator_traits<op_allocator<Handler>>::template rebind_alloc<Derived>;
  using traits = std::allocator_traits<allocator>;

  // The outstanding work ends after the handler has been posted, which counts as outstanding work itself.
  template <class Deliver>
  void finish(Deliver deliver) {
    const auto where_to = std::move(place_);
    [[maybe_unused]] const auto work = std::move(work_);
    const auto why = this->result();
    const auto value = this->value();
    deliver(where_to, bound_handler<HasValue, Handler, typename Op::value_type>{free(), why, value});
  }

  /// Frees the memory of *this. @return the handler, which may own the memory that its allocator uses.
  [[nodiscard]] Handler free() noexcept {
    Handler handler{std::move(handler_)};
    allocator memory{allocator_for(handler)};
    auto* const self = static_cast<Derived*>(this);
    self->~Derived();
    traits::deallocate(memory, self, 1);
    return handler;
  }

  handler_work<handler_executor> place_;
  [[no_unique_address]] Work work_;
  Handler handler_;
};

}  // namespace doorbell::asio::detail
