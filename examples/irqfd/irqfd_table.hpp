// SPDX-License-Identifier: Apache-2.0
//
// irqfd_table: the guest's vectors that the device's line is assigned to.
//
// An irqfd is a notifier on the eventfd that the device signals. The signalling thread injects the interrupt itself.
// deassign() unregisters the notifier. After it has returned, no interrupt is injected, however often the line is
// signalled.
//
// Thread safety: not thread-safe; but other threads may signal the line concurrently.
#pragma once

#include <memory>
#include <unordered_map>
#include <utility>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "interrupts.hpp"

namespace irqfd {

class irqfd_table {
 public:
  /// `controller` outlives the table.
  irqfd_table(doorbell::eventfd line, interrupts& controller) : line_{std::move(line)}, controller_{controller} {}

  /// @return false if the vector is assigned already.
  bool assign(unsigned vector);
  /// After it has returned, the vector is not injected any more. @return false if the vector was not assigned.
  bool deassign(unsigned vector);

 private:
  void inject(doorbell::eventfd_ctx& line, unsigned vector) noexcept;

  const doorbell::eventfd line_;
  interrupts& controller_;
  std::unordered_map<unsigned, std::unique_ptr<doorbell::notifier>> assigned_;
};

}  // namespace irqfd
