// SPDX-License-Identifier: Apache-2.0
//
// Helpers that make interleavings likely and keep tests bounded. No test's verdict depends on them: an oracle holds
// whichever way the threads were scheduled.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace doorbell::test {

/// Runs `body(0)` to `body(threads - 1)` in a thread each, which start together, and returns when the last has ended.
template <class Body>
void run_together(std::size_t threads, Body body) {
  std::barrier start{static_cast<std::ptrdiff_t>(threads)};
  std::vector<std::jthread> running;
  running.reserve(threads);
  for (std::size_t index = 0; index < threads; ++index)
    running.emplace_back([&start, &body, index] {
      start.arrive_and_wait();
      body(index);
    });
}

/// Spins until `condition()`: threads that wait so come out within nanoseconds of each other. Gives way when it takes
/// long, since the thread that it waits for may want this CPU.
template <class Condition>
void spin_until(Condition condition) {
  for (int spins = 0; !condition(); ++spins)
    if (spins >= 1000) std::this_thread::yield();
}

/// A place where a thread leaves its kernel id, so that others can see whether it sleeps.
class sleeper {
 public:
  /// Called by the thread itself, before what may sleep.
  void here() noexcept { tid_.store(static_cast<pid_t>(::syscall(SYS_gettid)), std::memory_order_release); }

  /// Returns once the thread sleeps in the kernel.
  /// @return false when it has not after ten seconds, or has ended.
  [[nodiscard]] bool wait_until_asleep() const {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (std::chrono::steady_clock::now() < give_up) {
      if (const pid_t tid = tid_.load(std::memory_order_acquire); tid != 0) {
        const char now = state(tid);
        if (now == 'S' || now == ended) return now == 'S';
      }
      std::this_thread::yield();
    }
    return false;
  }

  static constexpr char ended = '?';

  /// The letter of a thread's state, as in proc_pid_stat(5), or `ended`.
  static char state(pid_t tid) {
    std::ifstream file{"/proc/self/task/" + std::to_string(tid) + "/stat"};
    std::string stat;
    std::getline(file, stat);
    // proc_pid_stat(5): the state comes after the name, which stands in parentheses and may hold any character.
    const auto name_end = stat.rfind(')');
    return name_end != std::string::npos && name_end + 2 < stat.size() ? stat[name_end + 2] : ended;
  }

 private:
  std::atomic<pid_t> tid_{0};
};

}  // namespace doorbell::test
