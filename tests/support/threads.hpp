// SPDX-License-Identifier: Apache-2.0
//
// Helpers that make interleavings likely and limit the duration of tests. No result depends on them: an oracle holds
// for each schedule of the threads.
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

/// Runs each of `body(0)` to `body(threads - 1)` in its own thread. The threads start together. Returns when the last
/// has ended.
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

/// Spins until `condition()` holds, so that waiting threads continue within nanoseconds of each other. After a while it
/// yields, because the thread for which it waits may need this CPU.
template <class Condition>
void spin_until(Condition condition) {
  for (int spins = 0; !condition(); ++spins)
    if (spins >= 1000) std::this_thread::yield();
}

/// Stores a thread's kernel id, so that other threads can check whether it sleeps.
class sleeper {
 public:
  /// Called by the thread itself, before a call that may sleep.
  void here() noexcept { tid_.store(static_cast<pid_t>(::syscall(SYS_gettid)), std::memory_order_release); }

  /// Returns once the thread sleeps in the kernel.
  /// @return false if it does not sleep after ten seconds, or has ended.
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
    // proc_pid_stat(5): the state follows the name, which is in parentheses and may contain any character.
    const auto name_end = stat.rfind(')');
    return name_end != std::string::npos && name_end + 2 < stat.size() ? stat[name_end + 2] : ended;
  }

 private:
  std::atomic<pid_t> tid_{0};
};

}  // namespace doorbell::test
