// SPDX-License-Identifier: Apache-2.0
//
// irqfd_table: which of the guest's vectors the device's line is assigned to.
//
// An irqfd is a notifier on the eventfd that the device signals: the interrupt is injected by the thread that signals,
// with no thread in between. To deassign is to unregister the notifier, and when that has returned there is no
// interrupt any more, however busy the line is.
//
// Thread safety: one thread at a time; the line may be signalled meanwhile.
#pragma once

#include <memory>
#include <unordered_map>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "interrupts.hpp"

namespace irqfd {

class irqfd_table {
 public:
  /// `guest` outlives the table.
  irqfd_table(const doorbell::eventfd& line, interrupts& guest) : line_{line}, guest_{guest} {}

  /// @return false: it is assigned already.
  bool assign(unsigned vector);
  /// When it returns, the vector is injected no more. @return false: it was not assigned.
  bool deassign(unsigned vector);

 private:
  void inject(doorbell::eventfd_ctx& line, unsigned vector) noexcept;

  const doorbell::eventfd line_;
  interrupts& guest_;
  std::unordered_map<unsigned, std::unique_ptr<doorbell::notifier>> assigned_;
};

}  // namespace irqfd
