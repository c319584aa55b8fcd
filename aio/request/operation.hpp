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

struct operation_traits {
  bool reads = false;        ///< moves bytes from the file
  bool writes = false;       ///< moves bytes into the file
  bool is_vectored = false;  ///< its buffers are iovecs
  bool polls = false;        ///< waits for events of the file, and moves no bytes
};

/// @return no traits for a number that is no opcode.
[[nodiscard]] constexpr operation_traits traits_of(opcode operation) noexcept {
  switch (operation) {  // no default: the compiler reports an opcode without traits
    case opcode::pread:
      return {.reads = true};
    case opcode::pwrite:
      return {.writes = true};
    case opcode::preadv:
      return {.reads = true, .is_vectored = true};
    case opcode::pwritev:
      return {.writes = true, .is_vectored = true};
    case opcode::poll:
      return {.polls = true};
    case opcode::fsync:
    case opcode::fdsync:
      return {};
  }
  return {};
}

[[nodiscard]] inline bool is_poll(const iocb_abi& asked) noexcept { return traits_of(operation_of(asked)).polls; }
[[nodiscard]] inline bool is_vectored(const iocb_abi& asked) noexcept {
  return traits_of(operation_of(asked)).is_vectored;
}

/// The direction in which the operation moves bytes, if it moves any.
[[nodiscard]] inline bool is_read(const iocb_abi& asked) noexcept { return traits_of(operation_of(asked)).reads; }
[[nodiscard]] inline bool is_write(const iocb_abi& asked) noexcept { return traits_of(operation_of(asked)).writes; }
[[nodiscard]] inline bool is_transfer(const iocb_abi& asked) noexcept { return is_read(asked) || is_write(asked); }

}  // namespace doorbell::aio
