// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/scheduler.hpp"

namespace doorbell::model {

/// Sleeps on `at`, as part of the step that the calling thread has just taken.
/// @return false: its time was up.
bool fall_asleep(scheduler& all, const void* at, bool timed) noexcept;

}  // namespace doorbell::model
