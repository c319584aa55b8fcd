// SPDX-License-Identifier: Apache-2.0
//
// The second soak: threads with AIO contexts in a process that random events disturb. The program closes or replaces
// all descriptors that it does not know, creates children, sends signals, and lowers and raises limits.
#pragma once

#include "options.hpp"

namespace doorbell::soak {

/// Runs the soak, and reports on stdout.
/// @return whether all oracles have held, and memory, threads and descriptors are flat.
[[nodiscard]] bool run_events(const options& asked);

}  // namespace doorbell::soak
