// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

namespace doorbell::test {

/// SIGALRM ends the process if this object is not destroyed in time: a hanging test fails soon.
class watchdog {
 public:
  static constexpr unsigned patience_in_seconds = 50;

  watchdog() noexcept { ::alarm(patience_in_seconds); }
  ~watchdog() { ::alarm(0); }
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
};

}  // namespace doorbell::test
