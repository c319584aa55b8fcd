// SPDX-License-Identifier: Apache-2.0
//
// disk_queue: shared by guest and device: two ring buffers, and the guest's memory for the blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ring.hpp"

namespace irqfd {

inline constexpr std::size_t block_size = 4096;

/// A guest's request for a block.
struct request {
  std::size_t slot;     ///< the number of the buffer
  std::uint64_t block;  ///< the number of the block on the disk
};

/// The device's answer: the slot's buffer contains the block, or there was an error.
struct completion {
  std::size_t slot;
  std::int64_t result;  ///< bytes, or -errno
};

class disk_queue {
 public:
  explicit disk_queue(std::size_t depth) : available{depth}, used{depth}, depth_{depth}, memory_(depth * block_size) {}

  [[nodiscard]] std::size_t depth() const noexcept { return depth_; }
  [[nodiscard]] std::span<std::byte> buffer(std::size_t slot) noexcept {
    return std::span{memory_}.subspan(slot * block_size, block_size);
  }

  ring<request> available;  ///< guest to device
  ring<completion> used;    ///< device to guest

 private:
  const std::size_t depth_;
  std::vector<std::byte> memory_;
};

}  // namespace irqfd
