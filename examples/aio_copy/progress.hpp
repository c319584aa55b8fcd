// SPDX-License-Identifier: Apache-2.0
//
// The progress of a pass over the file: a bar that is redrawn on a terminal, otherwise a line for each tenth.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace aio_copy {

class progress {
 public:
  /// @param doing the activity, such as "copying". @param total the number of bytes to process.
  progress(std::string doing, std::int64_t total);
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  /// On a terminal, clears the line of the bar.
  ~progress();

  void add(std::int64_t bytes);

  [[nodiscard]] double seconds() const;
  /// The mean rate so far, in bytes per second.
  [[nodiscard]] double rate() const;

 private:
  using clock = std::chrono::steady_clock;

  [[nodiscard]] double share() const;
  [[nodiscard]] std::string figures() const;
  void draw_bar();
  void print_line();

  const std::string doing_;
  const std::int64_t total_;
  const bool on_terminal_;
  const clock::time_point start_ = clock::now();
  clock::time_point drawn_;
  int tenths_ = 0;
  std::int64_t done_ = 0;
};

}  // namespace aio_copy
