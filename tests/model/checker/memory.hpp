// SPDX-License-Identifier: Apache-2.0
//
// memory: all memory of the code under test: its heap, its threads' stacks, and its mappings.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "arena.hpp"
#include "race_detector.hpp"
#include "stack.hpp"
#include "vector_clock.hpp"

namespace doorbell::model {

class memory {
 public:
  [[nodiscard]] void* allocate(const accessor& by, std::size_t bytes, std::size_t alignment) noexcept;
  void release(const accessor& by, void* at) noexcept;
  [[nodiscard]] bool owns(const void* at) const noexcept { return heap_.owns(at); }

  /// Fails if the memory is not allocated, or if the access races. Memory outside the heap, the
  /// stacks and the mappings is not checked.
  void access(const accessor& by, const void* at, std::size_t bytes, access_kind how) noexcept;

  /// Adds a mapping.
  void add_mapping(const void* at, std::size_t bytes) { add_mapping(at, bytes, at); }
  /// Adds a second mapping of the memory at `first`.
  void add_mapping(const void* at, std::size_t bytes, const void* first);
  /// The address of the same byte in the first mapping, for memory that is mapped twice.
  [[nodiscard]] const void* first_mapping_of(const void* at) const noexcept;

  /// Sets the stack pointer of a thread that does not run now: the memory below it belonged to functions that have
  /// returned.
  void set_stack_end(thread_id of, const void* end) noexcept { stack_ends_[of] = end; }
  [[nodiscard]] const stacks& all_stacks() const noexcept { return stacks_; }

  /// Allows a thread that does not exist in the child of a fork to leave its allocations.
  void let_stay(thread_id made_by) noexcept { heap_.let_stay(made_by); }
  /// Fails if a block has not been freed.
  void expect_no_leak() const noexcept;
  void clear() noexcept;

 private:
  struct mapping {
    const std::byte* begin;
    std::size_t bytes;
    const std::byte* first;
  };

  [[nodiscard]] const mapping* mapping_of(const void* at) const noexcept;
  void access_heap(const accessor& by, const void* at, std::size_t bytes, access_kind how) noexcept;
  void access_stack(const accessor& by, thread_id owner, const void* at, std::size_t bytes, access_kind how) noexcept;

  arena heap_;
  race_detector races_{heap_};
  stacks stacks_;
  std::array<sparse_accesses, max_threads> on_stacks_;  // accesses by threads other than the owner
  std::array<const void*, max_threads> stack_ends_{};
  std::vector<mapping> mappings_;
  sparse_accesses in_mappings_;
};

}  // namespace doorbell::model
