// SPDX-License-Identifier: Apache-2.0
//
// op_allocator: the allocator of operations: the associated allocator of the handler, or Asio's recycling allocator if
// the handler has none, as for Asio's own operations. A handler that starts the next operation gets the same memory
// again.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <memory>
#include <type_traits>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/recycling_allocator.hpp>

namespace doorbell::asio::detail {

template <class Handler, class Associated = boost::asio::associated_allocator_t<Handler>>
using op_allocator = std::conditional_t<std::is_same_v<Associated, std::allocator<void>>,
                                        boost::asio::recycling_allocator<void>, Associated>;

template <class Handler>
[[nodiscard]] op_allocator<Handler> allocator_for(const Handler& handler) noexcept {
  if constexpr (std::is_same_v<op_allocator<Handler>, boost::asio::recycling_allocator<void>>)
    return {};
  else
    return boost::asio::get_associated_allocator(handler);
}

}  // namespace doorbell::asio::detail
