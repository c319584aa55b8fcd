// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <thread>

namespace doorbell::test {

/// While it exists, an empty handler for SIGUSR1 is installed with `flags` (SA_RESTART or 0).
class signal_handler {
 public:
  explicit signal_handler(int flags) {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    action.sa_flags = flags;
    ::sigaction(SIGUSR1, &action, &before_);
  }
  ~signal_handler() { ::sigaction(SIGUSR1, &before_, nullptr); }
  signal_handler(const signal_handler&) = delete;
  signal_handler& operator=(const signal_handler&) = delete;

 private:
  struct sigaction before_{};
};

/// Runs `call` in a new thread, and signals that thread repeatedly until `call` has returned.
template <class Call>
void call_under_signals(Call call) {
  std::atomic<bool> ended{false};
  std::jthread calling{[&] {
    call();
    ended = true;
  }};
  while (!ended) {
    ::pthread_kill(calling.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
}

}  // namespace doorbell::test
