// SPDX-License-Identifier: Apache-2.0
//
// ring: a ring buffer that passes values from one thread to another, in order.
//
// Memory ordering: push() releases with tail_, and pop() acquires. pop() releases with head_, and push() acquires, so
// that a place is overwritten only after it has been read.
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

  /// For one thread only. Throws std::length_error if the ring is full.
  void push(Value value) {
    const auto tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == values_.size()) throw std::length_error{"the ring is full"};
    values_[tail % values_.size()] = value;
    tail_.store(tail + 1, std::memory_order_release);
  }

  /// For one other thread only. @return nothing if the ring is empty.
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
