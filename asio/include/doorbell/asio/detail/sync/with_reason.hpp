// SPDX-License-Identifier: Apache-2.0
//
// with_reason: the handler of a wait for the end of an asio::watch. Calls the program's handler with the reason of the
// end, and has its executor, allocator, cancellation slot and immediate executor.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <memory>
#include <utility>

#include <boost/asio/associator.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/sync/source_watch.hpp>

namespace doorbell::asio::detail {

template <class Handler>
struct with_reason {
  std::shared_ptr<watched_source> watch;
  Handler handler;

  void operator()(boost::system::error_code ec) {
    if (!ec) ec = watch->why();
    std::move(handler)(ec);
  }
};

}  // namespace doorbell::asio::detail

template <template <class, class> class Associator, class Handler, class Default>
struct boost::asio::associator<Associator, doorbell::asio::detail::with_reason<Handler>, Default>
    : Associator<Handler, Default> {
  // The return type is not a decltype of the call: the associator of immediate executors has no get() of one argument.
  static typename Associator<Handler, Default>::type get(
      const doorbell::asio::detail::with_reason<Handler>& of) noexcept {
    return Associator<Handler, Default>::get(of.handler);
  }
  static auto get(const doorbell::asio::detail::with_reason<Handler>& of, const Default& otherwise) noexcept
      -> decltype(Associator<Handler, Default>::get(of.handler, otherwise)) {
    return Associator<Handler, Default>::get(of.handler, otherwise);
  }
};
