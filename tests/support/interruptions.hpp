// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <ctime>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid  // NOLINT(readability-identifier-naming): the name in timer_create(2)
#endif

namespace doorbell::test {

/// While it exists, interrupts its thread repeatedly for some microseconds, at any instruction. The time between two
/// instructions, usually a few nanoseconds, becomes long enough for steps of another thread. Interrupted system calls
/// are restarted (SA_RESTART).
class interruptions {
 public:
  interruptions() {
    install_handler();
    struct sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGUSR2;
    event.sigev_notify_thread_id = static_cast<pid_t>(::syscall(SYS_gettid));
    armed_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    if (!armed_) return;
    const itimerspec often{.it_interval = {.tv_sec = 0, .tv_nsec = 50'000},
                           .it_value = {.tv_sec = 0, .tv_nsec = 50'000}};
    ::timer_settime(timer_, 0, &often, nullptr);
  }
  ~interruptions() {
    if (armed_) ::timer_delete(timer_);
  }
  interruptions(const interruptions&) = delete;
  interruptions& operator=(const interruptions&) = delete;

 private:
  // The handler is never removed: a signal may be pending when the timer is deleted.
  static void install_handler() {
    struct sigaction action{};
    action.sa_handler = &hold_up;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR2, &action, nullptr);
  }

  static void hold_up(int) {
    timespec begin{};
    ::clock_gettime(CLOCK_MONOTONIC, &begin);
    timespec now{};
    do ::clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1'000'000'000L + now.tv_nsec - begin.tv_nsec < 5'000);
  }

  timer_t timer_{};
  bool armed_ = false;
};

}  // namespace doorbell::test
