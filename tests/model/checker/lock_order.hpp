// SPDX-License-Identifier: Apache-2.0
//
// lock_order: the pairs of mutexes of which one was taken while the other was held. A circle may be a deadlock in
// another schedule.
#pragma once

#include <span>
#include <utility>
#include <vector>

namespace doorbell::model {

class lock_order {
 public:
  void clear() noexcept { taken_.clear(); }
  /// @return false: another thread takes them the other way round.
  [[nodiscard]] bool allows(std::span<const void* const> held, const void* next);

 private:
  [[nodiscard]] bool leads(const void* from, const void* to) const;

  std::vector<std::pair<const void*, const void*>> taken_;  // the second while the first was held
};

}  // namespace doorbell::model
