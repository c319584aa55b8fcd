// SPDX-License-Identifier: Apache-2.0
#include "interrupts.hpp"

#include <system_error>

namespace irqfd {

void interrupts::inject(unsigned vector) noexcept {
  if (!expected_.at(vector)) ++late_;
  ++counts_.at(vector);
  pending_ |= 1U << vector;
  nudge();
}

std::uint32_t interrupts::halt() {
  wake_.read();
  return pending_.exchange(0);
}

void interrupts::nudge() noexcept {
  std::error_code never;  // wake_ stays open during the lifetime of *this
  wake_.signal(1, never);
}

std::uint64_t interrupts::total() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& one : counts_) sum += one;
  return sum;
}

}  // namespace irqfd
