// SPDX-License-Identifier: Apache-2.0
//
// A coroutine's exception is thrown again in the thread that runs the loop.
#pragma once

#include <exception>
#include <utility>

namespace irqfd {

inline void rethrow(std::exception_ptr failure) {
  if (failure) std::rethrow_exception(std::move(failure));
}

}  // namespace irqfd
