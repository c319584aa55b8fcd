// SPDX-License-Identifier: Apache-2.0
#include "foreign_context.hpp"

#include <doorbell/base/errno_kept.hpp>

#include "../system/kernel_context.hpp"
#include "call.hpp"
#include "ioctx_table.hpp"

namespace doorbell::aio {

bool may_be_foreign(aio_context_t handle) noexcept {
  const base::errno_kept around;
  const call inside;
  return inside && handle != 0 && !ioctx_table::process().lookup(handle) && !kernel_context::is_own(handle);
}

}  // namespace doorbell::aio
