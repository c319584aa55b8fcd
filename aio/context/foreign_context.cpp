// SPDX-License-Identifier: Apache-2.0
#include "foreign_context.hpp"

#include <doorbell/base/errno_kept.hpp>

#include "../system/kernel_context.hpp"
#include "call.hpp"
#include "ioctx_table.hpp"

namespace doorbell::aio {

// The kernel has no context with handle 0, so it does not matter whether 0 counts as foreign.
bool may_be_foreign(aio_context_t handle) noexcept {
  const base::errno_kept around;
  const call inside;
  return inside && !ioctx_table::process().lookup(handle) && !kernel_context::is_own(handle);
}

}  // namespace doorbell::aio
