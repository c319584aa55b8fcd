// SPDX-License-Identifier: Apache-2.0
//
// Replaces base/rcu.cpp and liburcu. Each thread stores the number of its open section. A grace period ends only when
// all sections that were open at its beginning have ended, so the model checker finds a bug if a grace period is
// missing.
//
// For each section and each grace period, exactly one of these holds: the whole section happens before the end of the
// grace period, or the beginning of the grace period happens before the whole section. The first holds if the section's
// outermost rcu_read_lock() precedes the beginning of the grace period.
#include <doorbell/base/rcu.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "checker/failure.hpp"
#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace doorbell::model {
namespace {

constinit char grace_periods = 0;   // the object of all sections and grace periods
constinit char sections_ended = 0;  // the edges that base/rcu.hpp promises
constinit char grace_period_begun = 0;
constinit std::uint64_t last_section = 0;

void release(scheduler& all, const void* edge) noexcept {
  auto& me = all.current();
  all.object_at(edge).released.join(me.happened);
  me.happened.tick(me.id);
}

void acquire(scheduler& all, const void* edge) noexcept { all.current().happened.join(all.object_at(edge).released); }

/// Waits for the sections that are open at its beginning, and acquires their operations.
class grace_period {
 public:
  explicit grace_period(scheduler& all) : threads_{all.threads()} {
    for (const auto& each : threads_)
      if (each.sections > 0) open_[each.id] = each.in_section_since;
    under_way.push_back(this);
  }
  ~grace_period() { std::erase(under_way, this); }
  grace_period(const grace_period&) = delete;
  grace_period& operator=(const grace_period&) = delete;

  [[nodiscard]] static bool is_over(const void* asked) noexcept {
    const auto& mine = *static_cast<const grace_period*>(asked);
    return std::ranges::all_of(mine.threads_, [&](const auto& each) { return !mine.waits_for(each); });
  }
  [[nodiscard]] const vector_clock& has_seen() const noexcept { return seen_; }

  /// A thread is about to end its section.
  static void section_ends(const thread& who) noexcept {
    for (auto* const each : under_way)
      if (each->waits_for(who)) each->seen_.join(who.happened);
  }

 private:
  [[nodiscard]] bool waits_for(const thread& who) const noexcept {
    return open_[who.id] != 0 && who.sections > 0 && who.in_section_since == open_[who.id];
  }

  static inline std::vector<grace_period*> under_way;

  const std::span<const thread> threads_;
  std::array<std::uint64_t, max_threads> open_{};
  vector_clock seen_;
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
  if (me.sections++ > 0) return;
  me.in_section_since = ++doorbell::model::last_section;
  doorbell::model::acquire(all, &doorbell::model::grace_period_begun);
}

void urcu_bp_read_unlock() {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const doorbell::model::not_tracked here;
  all.step({.name = "rcu_read_unlock", .object = &doorbell::model::grace_periods, .writes = false});
  auto& me = all.current();
  if (me.sections == 1) {
    doorbell::model::grace_period::section_ends(me);
    doorbell::model::release(all, &doorbell::model::sections_ended);
  }
  --me.sections;
}

void doorbell::base::rcu_synchronize() noexcept {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const model::not_tracked here;
  if (all.current().sections > 0) model::fail(model::failure::deadlock, "rcu_synchronize waits for its own section");
  all.step({.name = "rcu_synchronize", .object = &model::grace_periods});
  model::acquire(all, &model::sections_ended);
  model::release(all, &model::grace_period_begun);
  const model::grace_period mine{all};
  all.step({.name = "the end of a grace period",
            .object = &model::grace_periods,
            .ready = model::grace_period::is_over,
            .asked = &mine});
  all.current().happened.join(mine.has_seen());
}
