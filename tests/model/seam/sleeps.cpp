// SPDX-License-Identifier: Apache-2.0
//
// Whether sleeps are recorded (aio/context/sleep_record.hpp), and how often a destroy may give up waiting for a
// sleeper.
#include <doorbell_model/sleeps.hpp>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace doorbell::model {
namespace {

struct {
  bool are_recorded = false;
  unsigned given_up_left = 0;
} sleeps;

}  // namespace

void record_sleeps(unsigned most_given_up) noexcept {
  const not_tracked here;
  sleeps = {.are_recorded = true, .given_up_left = most_given_up};
  scheduler::one().at_end([] { sleeps = {}; });
}

bool are_sleeps_recorded() noexcept { return sleeps.are_recorded; }

bool may_give_up_waiting() noexcept {
  if (sleeps.given_up_left == 0) return false;
  --sleeps.given_up_left;
  return true;
}

}  // namespace doorbell::model
