// SPDX-License-Identifier: Apache-2.0
//
// The functions of the model checker that aio/context/sleep_record.cpp calls. Sleeps are recorded only in scenarios
// that request it, because a record adds steps to each sleep. The calls are no steps.
#pragma once

namespace doorbell::model {

/// For the rest of the execution, records sleeps in calls on contexts. io_destroy may give up waiting for a sleeper at
/// any moment, at most `most_given_up` times in all.
void record_sleeps(unsigned most_given_up) noexcept;

[[nodiscard]] bool are_sleeps_recorded() noexcept;
/// @return whether the calling io_destroy may give up waiting. Each call that returns true uses one of
/// `most_given_up`.
[[nodiscard]] bool may_give_up_waiting() noexcept;

}  // namespace doorbell::model
