// SPDX-License-Identifier: Apache-2.0
//
// lock_order: the pairs of mutexes of which one was acquired while the other was held. A cycle may be a deadlock in
// another schedule.
#pragma once

#include <span>
#include <utility>
#include <vector>

namespace doorbell::model {

class lock_order {
 public:
  void clear() noexcept { taken_.clear(); }
  /// Adds `next` to the order. @return false if `next` was once acquired before one of `held`: a cycle.
  [[nodiscard]] bool allows(std::span<const void* const> held, const void* next);

 private:
  [[nodiscard]] bool leads(const void* from, const void* to) const;

  std::vector<std::pair<const void*, const void*>> taken_;  // the second was acquired while the first was held
};

}  // namespace doorbell::model
