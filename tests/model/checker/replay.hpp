// SPDX-License-Identifier: Apache-2.0
//
// replay: runs one schedule again. After the schedule's end, each thread runs as long as it can.
#pragma once

#include <utility>

#include "failure.hpp"
#include "schedule.hpp"
#include "strategy.hpp"

namespace doorbell::model {

class replay final : public strategy {
 public:
  explicit replay(schedule which) : which_{std::move(which)} {}

  void begin() override { place_ = 0; }

  [[nodiscard]] thread_id choose(const candidates& who) override {
    if (place_ >= which_.size()) return who.by_default();
    const auto next = which_.step_at(place_++);
    if (!next || (who.all() & only(*next)) == 0) not_this_scenarios();
    return *next;
  }

  [[nodiscard]] unsigned pick(unsigned alternatives) override {
    if (place_ >= which_.size()) return 0;
    const auto next = which_.pick_at(place_++);
    if (!next || *next >= alternatives) not_this_scenarios();
    return *next;
  }

 private:
  [[noreturn]] static void not_this_scenarios() {
    fail(failure::broken_scenario, "this is not a schedule of the scenario in its current version");
  }

  schedule which_;
  std::size_t place_ = 0;
};

}  // namespace doorbell::model
