// SPDX-License-Identifier: Apache-2.0
//
// random_priorities: for scenarios that are too large to be explored. Each thread has a random priority, and the thread
// with the highest priority runs. At d - 1 random steps of an execution the running thread gets the lowest priority.
// Each execution finds a bug that needs d orderings with a probability of at least 1 / (threads * steps^(d-1)).
// (Burckhardt, Kothari, Musuvathi, Nagarakatte: A randomized scheduler with probabilistic guarantees of finding bugs,
// ASPLOS 2010.)
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "strategy.hpp"

namespace doorbell::model {

class random_priorities final : public strategy {
 public:
  random_priorities(std::uint64_t seed, unsigned depth) : random_{seed}, depth_{depth} {}

  void begin() override;
  [[nodiscard]] thread_id choose(const candidates& who) override;
  [[nodiscard]] unsigned pick(unsigned alternatives) override { return below(alternatives); }

 private:
  [[nodiscard]] unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

  std::mt19937_64 random_;
  const unsigned depth_;
  std::array<int, max_threads> priorities_{};
  std::vector<unsigned> falls_;  // the steps at which the running thread gets the lowest priority
  unsigned step_ = 0;
  unsigned longest_ = 1;  // the longest execution so far, in steps
  int lowest_ = 0;
};

}  // namespace doorbell::model
