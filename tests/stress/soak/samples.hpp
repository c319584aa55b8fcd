// SPDX-License-Identifier: Apache-2.0
//
// Samples of the process's resources while all loads rest, and the check whether they grow.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace doorbell::soak {

/// The counted resources, by their place in a sample.
enum class counted : std::uint8_t {
  heap,         ///< KiB that the program has allocated and not freed
  resident,     ///< KiB of resident memory
  mappings,     ///< of any kind
  rings,        ///< mappings of AIO rings and io_uring queues
  threads,      ///< without the helpers
  helpers,      ///< doorbell's own threads, and the kernel's for io_uring
  descriptors,  ///< open ones
};
constexpr std::size_t counted_things = static_cast<std::size_t>(counted::descriptors) + 1;

struct sample {
  std::chrono::duration<double> at{};
  std::uint64_t rounds = 0;
  std::array<std::size_t, counted_things> count{};

  [[nodiscard]] std::size_t of(counted what) const { return count.at(static_cast<std::size_t>(what)); }

  /// Counts the resources now. The caller sets the other members.
  [[nodiscard]] static sample take();
};

class samples {
 public:
  void add(const sample& one) { all_.push_back(one); }
  [[nodiscard]] const sample& last() const { return all_.back(); }
  [[nodiscard]] bool empty() const { return all_.empty(); }

  /// Which samples the verdict compares.
  enum class periods : std::uint8_t { second_and_last_third, first_and_last_tenth };

  /// Prints all samples, or a selection if there are too many to read.
  void print_table(std::FILE* out) const;
  /// Prints which resources have grown.
  /// @return whether none has grown.
  [[nodiscard]] bool print_verdict(std::FILE* out, periods compared = periods::second_and_last_third) const;

 private:
  std::vector<sample> all_;
};

}  // namespace doorbell::soak
