// SPDX-License-Identifier: Apache-2.0
//
// arena: the heap of the code under test. No address is reused within an execution: freed memory stays in quarantine,
// so that each access to it is detected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "vector_clock.hpp"

namespace doorbell::model {

class arena {
 public:
  struct block {
    std::byte* begin;
    std::size_t bytes;
    thread_id made_by;
    bool freed = false;
    thread_id freed_by = 0;
    bool may_stay = false;
  };

  enum class state : std::uint8_t { never_allocated, live, freed };

  arena();
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;

  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment, thread_id by) noexcept;
  /// @return the block, which is now in quarantine.
  const block& release(void* at, thread_id by) noexcept;

  [[nodiscard]] bool owns(const void* at) const noexcept { return offset_of(at) < size; }
  [[nodiscard]] std::size_t offset_of(const void* at) const noexcept {
    return static_cast<std::size_t>(static_cast<const std::byte*>(at) - memory_);
  }
  [[nodiscard]] state state_at(std::size_t offset) const noexcept { return states_[offset]; }

  /// The blocks that thread `made_by` has allocated need not be freed.
  void let_stay(thread_id made_by) noexcept;

  /// The first block that should have been freed and was not, or null.
  [[nodiscard]] const block* first_live() const noexcept;
  /// A description of the memory at the address, in words.
  [[nodiscard]] std::string describe(const void* at) const;

  /// Frees everything: the next execution begins.
  void clear() noexcept;

  static constexpr std::size_t size = std::size_t{1} << 20;

 private:
  std::byte* const memory_;
  state* const states_;  // of each byte
  std::size_t used_ = 0;
  std::vector<block> blocks_;
};

}  // namespace doorbell::model
