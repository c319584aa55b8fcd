// SPDX-License-Identifier: Apache-2.0
//
// fork(2): a child has none of its parent's contexts, and may make its own.
#pragma once

namespace doorbell::aio {

/// Sees to it that a child starts with an empty table, no reaper, and no lock held: from before main, in any program that
/// has a call to this one in it.
void expect_forks() noexcept;

}  // namespace doorbell::aio
