// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>

#include "aio_bells.hpp"
#include "aio_files.hpp"
#include "aio_slots.hpp"
#include "input.hpp"

namespace doorbell::fuzz {

/// Decides on a request: any opcode, file, memory, length, offset, flags; good ones are the likely ones.
/// @return which of the bells' files it rings, if it is taken; none if it does not.
std::optional<std::size_t> decide_on(slot& made, input& bytes, const aio_files& files, const aio_bells& bells,
                                     std::uint64_t guard);

/// Whether it puts something into memory: no two of those in flight may have the same.
[[nodiscard]] bool reads(const aio::iocb_abi& request) noexcept;

}  // namespace doorbell::fuzz
