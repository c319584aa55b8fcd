// SPDX-License-Identifier: Apache-2.0
//
// In place of base/rcu.cpp and liburcu: a section is a number in its thread, and a grace period is over when the sections
// that were open at its beginning have ended. No sooner: that is what makes a missing one show.
#include <doorbell/base/rcu.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

#include "checker/failure.hpp"
#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace doorbell::model {
namespace {

constinit char grace_periods = 0;   // what sections and grace periods have in common
constinit char sections_ended = 0;  // the edges that base/rcu.hpp promises
constinit char grace_period_begun = 0;
constinit std::uint64_t last_section = 0;

void release(scheduler& all, const void* edge) noexcept {
  auto& me = all.current();
  all.object_at(edge).released.join(me.happened);
  me.happened.tick(me.id);
}

void acquire(scheduler& all, const void* edge) noexcept { all.current().happened.join(all.object_at(edge).released); }

/// The sections that were open at some moment.
struct grace_period {
  std::array<std::uint64_t, max_threads> open{};

  explicit grace_period(scheduler& all) noexcept {
    for (const auto& each : all.threads())
      if (each.sections > 0) open[each.id] = each.in_section_since;
  }
  static bool is_over(const void* asked) noexcept {
    const auto& mine = *static_cast<const grace_period*>(asked);
    return std::ranges::all_of(scheduler::one().threads(), [&](const auto& each) {
      return mine.open[each.id] == 0 || each.sections == 0 || each.in_section_since != mine.open[each.id];
    });
  }
};

}  // namespace
}  // namespace doorbell::model

using doorbell::model::scheduler;

void urcu_bp_read_lock() {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const doorbell::model::not_tracked here;
  all.step({.name = "rcu_read_lock", .object = &doorbell::model::grace_periods, .writes = false});
  auto& me = all.current();
  if (me.sections++ == 0) me.in_section_since = ++doorbell::model::last_section;
  doorbell::model::acquire(all, &doorbell::model::grace_period_begun);
}

void urcu_bp_read_unlock() {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const doorbell::model::not_tracked here;
  all.step({.name = "rcu_read_unlock", .object = &doorbell::model::grace_periods, .writes = false});
  doorbell::model::release(all, &doorbell::model::sections_ended);
  --all.current().sections;
}

void doorbell::base::rcu_synchronize() noexcept {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const model::not_tracked here;
  if (all.current().sections > 0) model::fail(model::failure::deadlock, "rcu_synchronize waits for its own section");
  all.step({.name = "rcu_synchronize", .object = &model::grace_periods});
  model::release(all, &model::grace_period_begun);
  const model::grace_period mine{all};
  all.step({.name = "the end of a grace period",
            .object = &model::grace_periods,
            .ready = model::grace_period::is_over,
            .asked = &mine});
  model::acquire(all, &model::sections_ended);
}
