// SPDX-License-Identifier: Apache-2.0
#include "lock_order.hpp"

#include <algorithm>

namespace doorbell::model {

bool lock_order::allows(std::span<const void* const> held, const void* next) {
  if (std::ranges::any_of(held, [&](const void* each) { return leads(next, each); })) return false;
  for (const auto* const each : held) {
    const std::pair taken{each, next};
    if (std::ranges::find(taken_, taken) == taken_.end()) taken_.push_back(taken);
  }
  return true;
}

// The recursion ends because there is no cycle yet.
bool lock_order::leads(const void* from, const void* to) const {
  if (from == to) return true;
  return std::ranges::any_of(taken_, [&](const auto& each) { return each.first == from && leads(each.second, to); });
}

}  // namespace doorbell::model
