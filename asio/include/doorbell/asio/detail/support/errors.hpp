// SPDX-License-Identifier: Apache-2.0
//
// The checks and errors that the I/O objects have in common.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

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

/// Sets `ec` to bad_descriptor unless the I/O object is open; otherwise clears it. @return `is_open`.
[[nodiscard]] inline bool check_open(bool is_open, error_code& ec) noexcept {
  ec = {};
  if (!is_open) ec = boost::asio::error::bad_descriptor;
  return is_open;
}

/// Sets `ec` to resource_deadlock_would_occur in a callback of an eventfd, where functions that may sleep are refused.
/// @return whether the caller may continue.
[[nodiscard]] inline bool check_no_callback(error_code& ec) noexcept {
  if (!eventfd_ctx::in_callback()) return true;
  ec = boost::system::errc::make_error_code(boost::system::errc::resource_deadlock_would_occur);
  return false;
}

}  // namespace doorbell::asio::detail
