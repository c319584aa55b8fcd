// SPDX-License-Identifier: Apache-2.0
//
// In place of base's: a number that fork_here() changes. Only doorbell/base/process_generation.hpp includes this
// header.
#pragma once

#include <cstdint>

namespace doorbell::base {

/// Plain, and not tracked: it changes only while one thread is left.
[[nodiscard]] std::uint32_t process_generation() noexcept;

}  // namespace doorbell::base
