// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a coroutine's exception: whoever runs the loop has it.
#pragma once

#include <exception>
#include <utility>

namespace irqfd {

inline void rethrow(std::exception_ptr failure) {
  if (failure) std::rethrow_exception(std::move(failure));
}

}  // namespace irqfd
