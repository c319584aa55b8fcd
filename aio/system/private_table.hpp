// SPDX-License-Identifier: Apache-2.0
//
// private_table: a descriptor table for the I/O threads that the threads of the program do not share.
//
// The descriptors in this table stay open when the program closes its own. Closing one of them does not drop the
// program's record locks, which belong to the table through which they were set (fcntl(2)).
#pragma once

#include <span>
#include <system_error>

namespace doorbell::aio {

/// Gives the calling thread a table of its own, in which only the descriptors `kept` are open, with the same numbers.
/// Threads that this thread creates share the table.
/// Errors: those of close_range(2) and unshare(2), if both fail; then the thread still has the program's table.
[[nodiscard]] std::error_code enter_private_table(std::span<const int> kept) noexcept;

/// Whether the calling thread, or the thread that created it, has entered a private table.
[[nodiscard]] bool is_in_private_table() noexcept;

/// For a thread that was created by a thread in a private table.
void note_private_table() noexcept;

}  // namespace doorbell::aio
