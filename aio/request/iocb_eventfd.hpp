// SPDX-License-Identifier: Apache-2.0
//
// The eventfd that an iocb names. An iocb of the C++ interface holds a reference to an eventfd; an iocb with the
// kernel's layout has the number of a descriptor.
//
// Thread safety: called by the thread that submits the iocb.
#pragma once

#include <system_error>

#include <doorbell/aio_iocb.hpp>

#include "completion_target.hpp"

namespace doorbell::aio {

inline bool has_eventfd(const iocb_abi& asked) noexcept { return (asked.flags & iocb_abi::flag_resfd) != 0; }

inline bool signal_the_same(const iocb& one, const iocb& other) noexcept {
  return has_eventfd(one) == has_eventfd(other) && one.eventfd() == other.eventfd();
}
inline bool signal_the_same(const iocb_abi& one, const iocb_abi& other) noexcept {
  return has_eventfd(one) == has_eventfd(other) && one.resfd == other.resfd;
}

/// Finds the eventfd that the iocb names. Errors: bad_file_descriptor; invalid_argument for a descriptor that is not an
/// eventfd.
inline std::error_code find_eventfd(const iocb& asked, completion_target& target, resfd_lookup& /*numbers*/) noexcept {
  if (asked.eventfd() == nullptr || !asked.eventfd()->is_open())
    return std::make_error_code(std::errc::bad_file_descriptor);
  target.eventfd = asked.eventfd();
  return {};
}

inline std::error_code find_eventfd(const iocb_abi& asked, completion_target& target, resfd_lookup& numbers) noexcept {
  std::error_code ec;
  target.kernel_eventfd = numbers.find(static_cast<int>(asked.resfd), ec);
  if (!ec) target.eventfd = target.kernel_eventfd->eventfd();
  return ec;
}

}  // namespace doorbell::aio
