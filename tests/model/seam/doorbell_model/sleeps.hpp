// SPDX-License-Identifier: Apache-2.0
//
// The functions of the model checker that aio/context/sleep_record.cpp calls. Sleeps are recorded only in scenarios
// that request it, because a record adds steps to each sleep. The calls are no steps.
#pragma once

namespace doorbell::model {

/// For the rest of the execution, records sleeps in calls on contexts, and lets destroys give up waiting for a sleeper
/// at most `most_losses_of_patience` times, at any moment.
void record_sleeps(unsigned most_losses_of_patience) noexcept;

[[nodiscard]] bool are_sleeps_recorded() noexcept;
/// @return whether the calling destroy may give up waiting; each such result counts.
[[nodiscard]] bool may_lose_patience() noexcept;

}  // namespace doorbell::model
