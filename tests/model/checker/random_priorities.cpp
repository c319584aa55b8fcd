// SPDX-License-Identifier: Apache-2.0
#include "random_priorities.hpp"

#include <algorithm>
#include <numeric>

namespace doorbell::model {

void random_priorities::begin() {
  longest_ = std::max(longest_, step_);
  step_ = 0;
  lowest_ = 0;
  std::iota(priorities_.begin(), priorities_.end(), 1);
  std::shuffle(priorities_.begin(), priorities_.end(), random_);
  falls_.clear();
  for (unsigned i = 1; i < depth_; ++i) falls_.push_back(1 + below(longest_));
}

thread_id random_priorities::choose(const candidates& who) {
  ++step_;
  if (std::ranges::find(falls_, step_) != falls_.end()) priorities_[who.previous] = --lowest_;
  const auto higher = [this](thread_id one, thread_id other) { return priorities_[one] < priorities_[other]; };
  std::vector<thread_id> all;
  for (thread_id id = 0; id < max_threads; ++id)
    if (who.all() & only(id)) all.push_back(id);
  return *std::ranges::max_element(all, higher);
}

}  // namespace doorbell::model
