// SPDX-License-Identifier: Apache-2.0
//
// by_turns: runs several sides of a comparison in one benchmark, interleaved, each for a short time. The speed of a
// disk, or of a processor that has to be woken up, varies by a fifth from one second to the next. This affects all
// sides alike, so each repetition measures the ratio of two of them.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace doorbell::bench {

class by_turns {
 public:
  /// @param round the work of one turn.
  void add(std::string name, std::function<void()> round) { sides_.push_back({std::move(name), std::move(round), {}}); }

  /// In each iteration all have their turn; each time another one is the first.
  /// Reports the nanoseconds of an operation of each, as a counter of its name.
  /// @param operations of a round.
  void run(benchmark::State& state, benchmark::IterationCount operations) {
    for (auto& each : sides_) each.round();  // objects that the first round creates exist then
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
