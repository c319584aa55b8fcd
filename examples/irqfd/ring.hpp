// SPDX-License-Identifier: Apache-2.0
//
// ring: passes values from one thread to another, in order.
//
// Memory ordering: push() releases with tail_, pop() acquires; pop() releases with head_, so that a place is written
// again only after it has been read.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <vector>

namespace irqfd {

template <class Value>
class ring {
 public:
  explicit ring(std::size_t places) : values_(places) {}

  /// One thread.
  void push(Value value) {
    const auto tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == values_.size()) throw std::length_error{"the ring is full"};
    values_[tail % values_.size()] = value;
    tail_.store(tail + 1, std::memory_order_release);
  }

  /// The other one. @return nothing when it is empty.
  [[nodiscard]] std::optional<Value> pop() {
    const auto head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return std::nullopt;
    const auto value = values_[head % values_.size()];
    head_.store(head + 1, std::memory_order_release);
    return value;
  }

 private:
  std::vector<Value> values_;
  std::atomic<std::size_t> head_{0};
  std::atomic<std::size_t> tail_{0};
};

}  // namespace irqfd
