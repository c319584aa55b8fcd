// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "support/threads.hpp"

namespace doorbell::test {

/// The context switch counts of all other threads of this process, as text; empty if one of them does not sleep.
[[nodiscard]] inline std::string switch_counts_of_sleeping_others() {
  std::string all = "asleep";
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    const auto tid = static_cast<pid_t>(std::stol(task.path().filename()));
    if (tid == ::gettid()) continue;
    if (sleeper::state(tid) != 'S') return {};
    std::ifstream status{task.path() / "status"};
    for (std::string line; std::getline(status, line);)
      if (line.find("ctxt_switches") != std::string::npos) all += ' ' + line;
  }
  return all;
}

/// Returns once every other thread of this process sleeps, and none has run since the first of them was checked. Then
/// none holds a lock of the allocator or of a sanitizer. Fails after ten seconds.
inline void expect_others_fall_asleep() {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  for (std::string before, now; std::chrono::steady_clock::now() < give_up; before = now) {
    now = switch_counts_of_sleeping_others();
    if (!now.empty() && now == before) return;
    std::this_thread::yield();
  }
  ADD_FAILURE() << "the other threads do not fall asleep";
}

}  // namespace doorbell::test
