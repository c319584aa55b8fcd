// SPDX-License-Identifier: Apache-2.0
//
// What the I/O objects say when something cannot be.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <cerrno>

#include <boost/asio/error.hpp>
#include <boost/system/errc.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio::detail {

using boost::system::error_code;

[[nodiscard]] inline error_code last_error() noexcept { return {errno, boost::system::system_category()}; }

inline void throw_if(const error_code& ec, const char* what) {
  if (ec) throw boost::system::system_error{ec, what};
}

/// Of an I/O object: sets `ec`, and is bad_descriptor unless it is open. @return whether it is.
[[nodiscard]] inline bool check_open(bool is_open, error_code& ec) noexcept {
  ec = {};
  if (!is_open) ec = boost::asio::error::bad_descriptor;
  return is_open;
}

/// What may sleep is resource_deadlock_would_occur in a callback of an eventfd. @return whether it may be done.
[[nodiscard]] inline bool check_no_callback(error_code& ec) noexcept {
  if (!eventfd_ctx::in_callback()) return true;
  ec = boost::system::errc::make_error_code(boost::system::errc::resource_deadlock_would_occur);
  return false;
}

}  // namespace doorbell::asio::detail
