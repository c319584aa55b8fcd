// SPDX-License-Identifier: Apache-2.0
//
// wait_limit: how long a read or a write may sleep.
#pragma once

#include <optional>
#include <version>
#ifdef __cpp_lib_jthread
#include <stop_token>
#endif

#include <doorbell/base/futex.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

struct eventfd_ctx::wait_limit {
  bool may_sleep = true;
  base::deadline until = std::nullopt;
#ifdef __cpp_lib_jthread
  const std::stop_token* stop = nullptr;
#endif
};

}  // namespace doorbell
