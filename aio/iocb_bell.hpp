// SPDX-License-Identifier: Apache-2.0
//
// The eventfd that an iocb names. An iocb of the C++ interface holds a reference to an eventfd; an iocb with the
// kernel's layout has the number of a descriptor.
//
// Thread safety: called by the thread that submits the iocb.
#pragma once

#include <system_error>

#include <doorbell/aio_iocb.hpp>

#include "resfd.hpp"

namespace doorbell::aio {

inline bool has_bell(const iocb_abi& asked) noexcept { return (asked.flags & iocb_abi::flag_resfd) != 0; }

inline bool ring_the_same(const iocb& one, const iocb& other) noexcept {
  return has_bell(one) == has_bell(other) && one.eventfd() == other.eventfd();
}
inline bool ring_the_same(const iocb_abi& one, const iocb_abi& other) noexcept {
  return has_bell(one) == has_bell(other) && one.resfd == other.resfd;
}

/// Finds the eventfd that the iocb names. Errors: bad_file_descriptor; invalid_argument for a descriptor that is not an
/// eventfd.
inline std::error_code find_bell(const iocb& asked, ringing& whom, resfd_lookup& /*numbers*/) noexcept {
  if (asked.eventfd() == nullptr || !asked.eventfd()->is_open())
    return std::make_error_code(std::errc::bad_file_descriptor);
  whom.bell = asked.eventfd();
  return {};
}

inline std::error_code find_bell(const iocb_abi& asked, ringing& whom, resfd_lookup& numbers) noexcept {
  std::error_code ec;
  whom.foreign = numbers.find(static_cast<int>(asked.resfd), ec);
  if (!ec) whom.bell = whom.foreign->bell();
  return ec;
}

}  // namespace doorbell::aio
