// SPDX-License-Identifier: Apache-2.0
//
// Replaces aio/system/private_table.cpp: a table of the model checker.
#include "system/private_table.hpp"

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"
#include "kernel.hpp"

namespace doorbell::aio {

std::error_code enter_private_table(std::span<const int> kept) noexcept {
  const model::not_tracked here;
  model::enter_new_table(kept);
  return {};
}

bool is_in_private_table() noexcept { return model::scheduler::one().current().table != 0; }

// A thread uses the table of its creator.
void note_private_table() noexcept {}

}  // namespace doorbell::aio
