// SPDX-License-Identifier: Apache-2.0
//
// What a program hands over as an address may be none.
#pragma once

#include <cstddef>
#include <cstdint>

namespace doorbell::aio {

/// Whether `bytes` at `address` are outside the kernel's half. Costs nothing; does not find out whether anything is there.
[[nodiscard]] inline bool in_user_half(const void* address, std::size_t bytes) noexcept {
  constexpr std::uintptr_t end = std::uintptr_t{1} << 47;
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  return at < end && bytes <= end - at;
}

/// The same, and not at null: what may be read, for all that can be known for nothing.
[[nodiscard]] inline bool plausible(const void* address, std::size_t bytes) noexcept {
  constexpr std::uintptr_t first = 4096;
  return reinterpret_cast<std::uintptr_t>(address) >= first && in_user_half(address, bytes);
}

/// Copies memory that may not be there; a system call.
/// @return false when it is not.
[[nodiscard]] bool read_memory(const void* from, void* to, std::size_t bytes) noexcept;

/// Whether each pointer is to be tried before it is used: DOORBELL_STRICT=1, when the process first asks.
[[nodiscard]] bool is_strict() noexcept;

/// Whether the memory may be read, respectively written: by plausibility, or strictly by trying. What may be written is the
/// caller's alone for now: strictly, a byte in each page of it is written as it was read.
[[nodiscard]] bool try_to_read(const void* address, std::size_t bytes) noexcept;
[[nodiscard]] bool try_to_write(void* address, std::size_t bytes) noexcept;

[[nodiscard]] inline bool is_readable(const void* address, std::size_t bytes) noexcept {
  return plausible(address, bytes) && (!is_strict() || try_to_read(address, bytes));
}
[[nodiscard]] inline bool is_writable(void* address, std::size_t bytes) noexcept {
  return plausible(address, bytes) && (!is_strict() || try_to_write(address, bytes));
}

}  // namespace doorbell::aio
