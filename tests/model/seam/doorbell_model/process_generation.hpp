// SPDX-License-Identifier: Apache-2.0
//
// Replaces the version of base: a number that together_until_fork() changes. Only doorbell/base/process_generation.hpp
// includes this header.
#pragma once

#include <cstdint>

namespace doorbell::base {

/// The number is a plain variable, and not tracked: it changes only while one thread exists.
[[nodiscard]] std::uint32_t process_generation() noexcept;

}  // namespace doorbell::base
