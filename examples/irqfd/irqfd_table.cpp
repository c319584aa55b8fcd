// SPDX-License-Identifier: Apache-2.0
#include "irqfd_table.hpp"

#include <system_error>

namespace irqfd {

bool irqfd_table::assign(unsigned vector) {
  auto& place = assigned_[vector];
  if (place != nullptr) return false;
  controller_.expect(vector);
  place = std::make_unique<doorbell::notifier>([this, vector](doorbell::eventfd_ctx& line) { inject(line, vector); });
  // register_with() reports signals that arrived while no notifier was registered, so that none is lost.
  if (place->register_with(line_)) inject(*line_.unreferenced_context(), vector);
  return true;
}

bool irqfd_table::deassign(unsigned vector) {
  const auto place = assigned_.find(vector);
  if (place == assigned_.end()) return false;
  place->second->unregister();
  controller_.expect_no_more(vector);
  assigned_.erase(place);
  return true;
}

// Takes the count before it injects, so that the next assignment does not inject the same signal again.
void irqfd_table::inject(doorbell::eventfd_ctx& line, unsigned vector) noexcept {
  std::error_code never;  // drain() is legal in a callback of the same eventfd
  line.drain(never);
  controller_.inject(vector);
}

}  // namespace irqfd
