// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace doorbell::fuzz {

/// Converts a number to an address.
template <class T>
T* address(std::uint64_t at) noexcept {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(at));
}

}  // namespace doorbell::fuzz
