// SPDX-License-Identifier: Apache-2.0
//
// The resources of a process, as /proc shows them: to compare before and after.
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
  std::size_t threads = 0;   ///< without those that stay: doorbell's own, the kernel's workers of io_uring
  std::size_t mappings = 0;  ///< of AIO rings and io_uring queues; a program has others that come and go

  bool operator==(const inventory&) const = default;

  friend std::ostream& operator<<(std::ostream& out, const inventory& had) {
    return out << had.descriptors << " descriptors, " << had.threads << " threads, " << had.mappings << " mappings";
  }

  [[nodiscard]] static inventory now() {
    return {.descriptors = count_descriptors(), .threads = count_threads(), .mappings = count_mappings()};
  }

  /// The same, waiting a while for it to be no more than `expected`: a thread that has been joined may still stand in
  /// /proc.
  [[nodiscard]] static inventory settled(const inventory& expected) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    auto seen = now();
    while (!seen.no_more_than(expected) && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::yield();
      seen = now();
    }
    // Less is as good: a thread that has been joined may have been listed a little longer, in what was expected too.
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
      // An anonymous shared mapping goes by the name of what it once was.
      for (const auto* const name : {"/dev/zero (deleted)", "/memfd:doorbell-ring", "[io_uring]"})
        count += line.find(name) != std::string::npos;
    return count;
  }
};

/// Expects that what there is at the end of its life is what there was at the beginning.
class nothing_left_behind {
 public:
  nothing_left_behind() = default;
  ~nothing_left_behind() { EXPECT_EQ(inventory::settled(before_), before_); }
  nothing_left_behind(const nothing_left_behind&) = delete;
  nothing_left_behind& operator=(const nothing_left_behind&) = delete;

 private:
  // A sanitizer starts a thread of its own with a program's first, and keeps it.
  static inventory after_a_first_thread() {
    std::thread{[] {}}.join();
    return inventory::now();
  }

  const inventory before_ = after_a_first_thread();
};

}  // namespace doorbell::test
