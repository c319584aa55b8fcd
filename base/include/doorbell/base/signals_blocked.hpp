// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <pthread.h>

#include <csignal>

namespace doorbell::base {

/// Blocks all signals, during its lifetime, in the calling thread and in each thread that it creates.
class all_signals_blocked {
 public:
  all_signals_blocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~all_signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  all_signals_blocked(const all_signals_blocked&) = delete;
  all_signals_blocked& operator=(const all_signals_blocked&) = delete;

  /// The signals that were blocked before.
  [[nodiscard]] const sigset_t& before() const noexcept { return before_; }

 private:
  sigset_t before_{};
};

}  // namespace doorbell::base
