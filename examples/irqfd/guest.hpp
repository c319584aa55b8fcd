// SPDX-License-Identifier: Apache-2.0
//
// guest: one processor and its disk driver, which keeps the disk busy and verifies the blocks that it reads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <doorbell/eventfd.hpp>

#include "disk_image.hpp"
#include "disk_queue.hpp"
#include "interrupts.hpp"

namespace irqfd {

class guest {
 public:
  /// The vector that the driver waits for.
  static constexpr unsigned disk_vector = 0;

  /// The referenced objects outlive the guest. At its end, run() closes the handle on the kick, which ends the device.
  guest(disk_queue& queue, const disk_image& disk, interrupts& pending, doorbell::eventfd kick);

  /// Returns after stop(), when all its requests have completed.
  void run();
  /// May be called by any thread.
  void stop();

  /// Valid after run() has returned.
  [[nodiscard]] std::uint64_t blocks_read() const noexcept { return blocks_read_; }
  [[nodiscard]] std::uint64_t wrong_blocks() const noexcept { return wrong_blocks_; }

 private:
  void ask(std::size_t slot);
  std::size_t take_completions();

  disk_queue& queue_;
  const disk_image& disk_;
  interrupts& interrupts_;
  doorbell::eventfd kick_;
  std::atomic<bool> stopping_{false};

  // Used only by the thread of run().
  std::vector<std::uint64_t> asked_for_;  // by slot
  std::size_t in_flight_ = 0;
  std::uint64_t blocks_read_ = 0;
  std::uint64_t wrong_blocks_ = 0;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace irqfd
