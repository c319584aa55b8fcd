// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>

#include "aio_eventfds.hpp"
#include "aio_files.hpp"
#include "aio_slots.hpp"
#include "input.hpp"

namespace doorbell::fuzz {

/// Decides on a request: any opcode, file, memory, length, offset, flags. Valid values are the most likely.
/// @return the eventfd that it signals if it is accepted; none if it signals none.
std::optional<std::size_t> decide_on(slot& made, input& bytes, const aio_files& files, const aio_eventfds& efds,
                                     std::uint64_t guard);

/// Whether the request writes into memory: no two such requests in flight may have the same buffer.
[[nodiscard]] bool reads(const aio::iocb_abi& request) noexcept;

}  // namespace doorbell::fuzz
