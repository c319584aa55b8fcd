// SPDX-License-Identifier: Apache-2.0
//
// The resources of a process according to /proc, for a comparison before and after a test.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <string>
#include <system_error>
#include <thread>

namespace doorbell::test {

struct inventory {
  std::size_t descriptors = 0;
  std::size_t threads = 0;   ///< without permanent ones: doorbell's own threads and the kernel's io_uring workers
  std::size_t mappings = 0;  ///< of AIO rings and io_uring queues; other mappings change in any program

  bool operator==(const inventory&) const = default;

  friend std::ostream& operator<<(std::ostream& out, const inventory& had) {
    return out << had.descriptors << " descriptors, " << had.threads << " threads, " << had.mappings << " mappings";
  }

  [[nodiscard]] static inventory now() {
    return {.descriptors = count_descriptors(), .threads = count_threads(), .mappings = count_mappings()};
  }

  /// Waits up to ten seconds until the resources are at most `expected`: /proc may still list a thread that has been
  /// joined.
  [[nodiscard]] static inventory settled(const inventory& expected) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    auto seen = now();
    while (!seen.no_more_than(expected) && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::yield();
      seen = now();
    }
    // Fewer is also correct: a joined thread may still have been listed when `expected` was counted.
    if (seen.no_more_than(expected)) return expected;
    return seen;
  }

 private:
  [[nodiscard]] bool no_more_than(const inventory& other) const {
    return descriptors <= other.descriptors && threads <= other.threads && mappings <= other.mappings;
  }
  static std::size_t count_descriptors() {
    const std::filesystem::directory_iterator open{"/proc/self/fd"};
    return static_cast<std::size_t>(std::distance(begin(open), end(open)));
  }

  static std::size_t count_threads() {
    std::size_t count = 0;
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
      std::ifstream file{task.path() / "comm"};
      std::string name;
      count += std::getline(file, name) && !name.starts_with("doorbell-") && !name.starts_with("iou-");
    }
    return count;
  }

  static std::size_t count_mappings() {
    std::ifstream maps{"/proc/self/maps"};
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);)
      // The kernel lists an anonymous shared mapping as "/dev/zero (deleted)".
      for (const auto* const name : {"/dev/zero (deleted)", "/memfd:doorbell-ring", "[io_uring]"})
        count += line.find(name) != std::string::npos;
    return count;
  }
};

/// Expects that the process has the same resources at its destruction as at its construction.
class nothing_left_behind {
 public:
  nothing_left_behind() = default;
  ~nothing_left_behind() { EXPECT_EQ(inventory::settled(before_), before_); }
  nothing_left_behind(const nothing_left_behind&) = delete;
  nothing_left_behind& operator=(const nothing_left_behind&) = delete;

 private:
  // A sanitizer starts its own thread together with a program's first thread, and keeps it.
  static inventory after_a_first_thread() {
    std::thread{[] {}}.join();
    return inventory::now();
  }

  const inventory before_ = after_a_first_thread();
};

}  // namespace doorbell::test
