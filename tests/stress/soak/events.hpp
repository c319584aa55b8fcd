// SPDX-License-Identifier: Apache-2.0
//
// The other soak: threads with AIO contexts in a process that events hit at random. All descriptors that the program
// does not know are closed or replaced, children are created, signals come, limits are lowered and raised again.
#pragma once

#include "options.hpp"

namespace doorbell::soak {

/// Runs it, and reports on stdout.
/// @return whether all oracles have held, and memory, threads and descriptors are flat.
[[nodiscard]] bool run_events(const options& asked);

}  // namespace doorbell::soak
