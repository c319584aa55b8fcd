// SPDX-License-Identifier: Apache-2.0
#include "irqfd_table.hpp"

#include <system_error>

namespace irqfd {

bool irqfd_table::assign(unsigned vector) {
  auto& place = assigned_[vector];
  if (place != nullptr) return false;
  guest_.expect(vector);
  place = std::make_unique<doorbell::notifier>([this, vector](doorbell::eventfd_ctx& line) { inject(line, vector); });
  // Signals while nothing was assigned have called no function; register_with() reports them, so that none is missed.
  if (place->register_with(line_)) inject(*line_.unreferenced_context(), vector);
  return true;
}

bool irqfd_table::deassign(unsigned vector) {
  const auto place = assigned_.find(vector);
  if (place == assigned_.end()) return false;
  place->second->unregister();
  guest_.expect_no_more(vector);
  assigned_.erase(place);
  return true;
}

// The count is taken as the interrupt is injected, so that the next assignment does not inject it again.
void irqfd_table::inject(doorbell::eventfd_ctx& line, unsigned vector) noexcept {
  std::error_code never;  // it is its own callback
  line.drain(never);
  guest_.inject(vector);
}

}  // namespace irqfd
