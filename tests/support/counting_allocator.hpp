// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

namespace doorbell::test {

/// The memory that a counting_allocator has allocated.
struct memory_count {
  std::size_t live = 0;  ///< bytes
  std::size_t ever = 0;  ///< allocations
};

/// Allocates from the heap, and counts.
template <class T>
struct counting_allocator {
  using value_type = T;

  explicit counting_allocator(memory_count& whose) : count{&whose} {}
  template <class U>
  explicit(false) counting_allocator(const counting_allocator<U>& other) : count{other.count} {}

  T* allocate(std::size_t n) {
    count->live += n * sizeof(T);
    ++count->ever;
    return std::allocator<T>{}.allocate(n);
  }
  void deallocate(T* place, std::size_t n) {
    count->live -= n * sizeof(T);
    std::allocator<T>{}.deallocate(place, n);
  }
  template <class U>
  bool operator==(const counting_allocator<U>& other) const {
    return count == other.count;
  }

  memory_count* count;
};

}  // namespace doorbell::test
