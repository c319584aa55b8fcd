// SPDX-License-Identifier: Apache-2.0
//
// Replaces base/process_generation.cpp: the number changes when the scenario forks.
#include <doorbell/base/process_generation.hpp>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"
#include "scenario.hpp"

namespace doorbell {
namespace {

constinit std::uint32_t generation = 1;

}  // namespace

std::uint32_t base::process_generation() noexcept { return generation; }

void model::together_until_fork(std::initializer_list<part> parts, unsigned steps) noexcept {
  scheduler::one().together_until_fork({parts.begin(), parts.size()}, steps);
  const not_tracked here;
  ++generation;
  scheduler::one().at_end([] { generation = 1; });
}

}  // namespace doorbell
