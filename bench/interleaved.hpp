// SPDX-License-Identifier: Apache-2.0
//
// interleaved: runs several sides of a comparison in one benchmark, interleaved, each for a short time. The speed of a
// disk, or of a CPU that has to be woken, varies by a fifth from one second to the next. Interleaved rounds are
// affected alike, so that each repetition yields a meaningful ratio of two sides.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace doorbell::bench {

class interleaved {
 public:
  /// @param round the work of one round.
  void add(std::string name, std::function<void()> round) { sides_.push_back({std::move(name), std::move(round), {}}); }

  /// Each iteration runs one round of every side; the first side rotates. For each side, reports the nanoseconds per
  /// operation as a counter with the name of the side.
  /// @param operations the number of operations in a round.
  void run(benchmark::State& state, benchmark::IterationCount operations) {
    for (auto& each : sides_) each.round();  // not measured: the first round creates objects
    for (auto _ : state) {
      for (auto& each : sides_) each.took += time_of(each.round);
      std::ranges::rotate(sides_, sides_.begin() + 1);
    }
    const auto all = static_cast<double>(state.iterations() * operations);
    for (const auto& each : sides_)
      state.counters[each.name] = std::chrono::duration<double, std::nano>(each.took).count() / all;
  }

 private:
  using clock = std::chrono::steady_clock;

  struct side {
    std::string name;
    std::function<void()> round;
    clock::duration took;
  };

  [[nodiscard]] static clock::duration time_of(const std::function<void()>& round) {
    const auto began = clock::now();
    round();
    return clock::now() - began;
  }

  std::vector<side> sides_;
};

}  // namespace doorbell::bench
