// SPDX-License-Identifier: Apache-2.0
#include "background_thread.hpp"

#include <pthread.h>

#include <csignal>
#include <new>
#include <thread>

namespace doorbell::aio {
namespace {

/// A thread started in this scope has all signals blocked.
class all_signals_blocked {
 public:
  all_signals_blocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~all_signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  all_signals_blocked(const all_signals_blocked&) = delete;
  all_signals_blocked& operator=(const all_signals_blocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

std::error_code start_background_thread(const char* name, void (*body)(void*) noexcept, void* argument) noexcept {
  try {
    const all_signals_blocked here;
    std::thread{[name, body, argument] {
      pthread_setname_np(pthread_self(), name);
      body(argument);
    }}.detach();
    return {};
  } catch (const std::system_error& failed) {
    return failed.code();
  } catch (const std::bad_alloc&) {
    return std::make_error_code(std::errc::not_enough_memory);
  }
}

}  // namespace doorbell::aio
