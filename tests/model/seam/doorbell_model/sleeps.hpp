// SPDX-License-Identifier: Apache-2.0
//
// The questions that aio/sleep_record.cpp asks the model checker: records are kept only in scenarios that say so, since
// each record is more steps of each sleep. No calls are steps.
#pragma once

namespace doorbell::model {

/// For the rest of the execution, sleeps in calls on contexts are recorded, and a destroy's patience ends so many
/// times, at any moment.
void record_sleeps(unsigned most_losses_of_patience) noexcept;

[[nodiscard]] bool are_sleeps_recorded() noexcept;
/// @return whether the patience of the destroy that asks may end once more.
[[nodiscard]] bool may_lose_patience() noexcept;

}  // namespace doorbell::model
