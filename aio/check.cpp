// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <fcntl.h>

#include <limits>

namespace doorbell::aio {
namespace {

constexpr std::uint64_t max_poll_events = 0xffff;

std::error_code unless(bool good, std::errc otherwise) noexcept {
  return good ? std::error_code{} : std::make_error_code(otherwise);
}

std::error_code check_transfer(const iocb_abi& asked, int opened_for) noexcept {
  const int mode = ::fcntl(asked.fildes, F_GETFL) & O_ACCMODE;
  if (mode != O_RDWR && mode != opened_for) return std::make_error_code(std::errc::bad_file_descriptor);
  return unless(asked.offset >= 0, std::errc::invalid_argument);
}

}  // namespace

std::error_code check_layout(const iocb_abi& asked) noexcept {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<ssize_t>::max());
  return unless(asked.reserved2 == 0 && asked.nbytes <= most, std::errc::invalid_argument);
}

std::error_code check_file(const iocb_abi& asked) noexcept {
  const int flags = ::fcntl(asked.fildes, F_GETFL);
  return unless(flags >= 0 && !(flags & O_PATH), std::errc::bad_file_descriptor);
}

std::error_code check_operation(const iocb_abi& asked) noexcept {
  switch (static_cast<opcode>(asked.lio_opcode)) {
    case opcode::pread:
    case opcode::preadv:
      return check_transfer(asked, O_RDONLY);
    case opcode::pwrite:
    case opcode::pwritev:
      return check_transfer(asked, O_WRONLY);
    case opcode::fsync:
    case opcode::fdsync:
      return unless(asked.buf == 0 && asked.offset == 0 && asked.nbytes == 0 && asked.rw_flags == 0,
                    std::errc::invalid_argument);
    case opcode::poll:
      return unless(asked.buf <= max_poll_events && asked.offset == 0 && asked.nbytes == 0 && asked.rw_flags == 0,
                    std::errc::invalid_argument);
  }
  return std::make_error_code(std::errc::invalid_argument);
}

}  // namespace doorbell::aio
