// SPDX-License-Identifier: Apache-2.0
//
// Classifies the operation of an iocb.
#pragma once

#include <cstdint>

#include <doorbell/aio_iocb.hpp>

namespace doorbell::aio {

/// The maximum number of bytes that one read or write moves: MAX_RW_COUNT.
inline constexpr std::uint64_t max_transfer = 0x7ffff000;

[[nodiscard]] inline opcode operation_of(const iocb_abi& asked) noexcept {
  return static_cast<opcode>(asked.lio_opcode);
}
[[nodiscard]] inline bool is_poll(const iocb_abi& asked) noexcept { return operation_of(asked) == opcode::poll; }
[[nodiscard]] inline bool is_vectored(const iocb_abi& asked) noexcept {
  return operation_of(asked) == opcode::preadv || operation_of(asked) == opcode::pwritev;
}

/// The direction in which the operation moves bytes, if it moves any.
[[nodiscard]] inline bool is_read(const iocb_abi& asked) noexcept {
  return operation_of(asked) == opcode::pread || operation_of(asked) == opcode::preadv;
}
[[nodiscard]] inline bool is_write(const iocb_abi& asked) noexcept {
  return operation_of(asked) == opcode::pwrite || operation_of(asked) == opcode::pwritev;
}
[[nodiscard]] inline bool is_transfer(const iocb_abi& asked) noexcept { return is_read(asked) || is_write(asked); }

}  // namespace doorbell::aio
