// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <functional>
#include <utility>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid  // NOLINT(readability-identifier-naming): the name in timer_create(2)
#endif

// A program whose signal handlers call malloc(3) has this macro in one of its sources. It turns off the reports of
// ThreadSanitizer about such calls. They are safe in these tests, because the handlers never interrupt malloc(3): the
// program's own threads allocate nothing while a signal may arrive, and no signal interrupts calls of doorbell that
// allocate.
#define DOORBELL_TEST_ALLOCATES_IN_HANDLERS \
  extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() { return "report_signal_unsafe=0"; }

namespace doorbell::test {

/// For a scope, SIGUSR1 calls `handler` in the signalled thread. Only one may exist at a time.
class in_handler {
 public:
  explicit in_handler(std::function<void()> handler, int flags = 0) {
    current_ = std::move(handler);
    struct sigaction action{};
    action.sa_handler = [](int) { current_(); };
    action.sa_flags = flags;
    ::sigaction(SIGUSR1, &action, &before_);
  }
  ~in_handler() { ::sigaction(SIGUSR1, &before_, nullptr); }
  in_handler(const in_handler&) = delete;
  in_handler& operator=(const in_handler&) = delete;

 private:
  static inline std::function<void()> current_;
  struct sigaction before_{};
};

/// A timer that sends SIGUSR1 to the thread that has created it.
class alarm_clock {
 public:
  alarm_clock() {
    struct sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGUSR1;
    event.sigev_notify_thread_id = static_cast<pid_t>(::syscall(SYS_gettid));
    is_made_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  }
  ~alarm_clock() {
    if (is_made_) ::timer_delete(timer_);
  }
  alarm_clock(const alarm_clock&) = delete;
  alarm_clock& operator=(const alarm_clock&) = delete;

  /// Sends a signal after `nanoseconds`, which must not be 0, and then repeatedly after each `interval`, unless that is
  /// 0.
  [[nodiscard]] bool set(long nanoseconds, long interval = 0) {
    const auto time = [](long ns) { return timespec{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000}; };
    const itimerspec when{.it_interval = time(interval), .it_value = time(nanoseconds)};
    return is_made_ && ::timer_settime(timer_, 0, &when, nullptr) == 0;
  }
  void stop() {
    const itimerspec never{};
    ::timer_settime(timer_, 0, &never, nullptr);
  }

 private:
  timer_t timer_{};
  bool is_made_ = false;
};

}  // namespace doorbell::test
