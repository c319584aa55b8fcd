// SPDX-License-Identifier: Apache-2.0
//
// rethrow: a completion handler for coroutines. Rethrows their exception in the thread that runs the loop.
#pragma once

#include <exception>
#include <utility>

namespace irqfd {

inline void rethrow(std::exception_ptr failure) {
  if (failure) std::rethrow_exception(std::move(failure));
}

}  // namespace irqfd
