// SPDX-License-Identifier: Apache-2.0
//
// machine: guest, device and control, a thread each, from its construction to stop(). An error in one of them ends the
// program, because the others would wait for it for ever.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <thread>

#include <doorbell/eventfd.hpp>

#include "control.hpp"
#include "device.hpp"
#include "disk_image.hpp"
#include "disk_queue.hpp"
#include "guest.hpp"
#include "interrupts.hpp"
#include "irqfd_table.hpp"

namespace irqfd {

class machine {
 public:
  /// @param image see disk_image. @param depth requests in flight. @param socket where control listens.
  machine(const std::filesystem::path& image, std::size_t depth, const std::filesystem::path& socket);
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  ~machine() { stop(); }

  /// Ends the threads, in the order in which they depend on each other.
  void stop();

  [[nodiscard]] const interrupts& vectors() const noexcept { return interrupts_; }
  /// After stop().
  [[nodiscard]] const guest& driver() const noexcept { return guest_; }
  [[nodiscard]] std::string engine() const { return std::string{device_.engine()}; }

 private:
  const disk_image image_;
  disk_queue queue_;
  interrupts interrupts_;
  doorbell::eventfd line_;
  doorbell::eventfd kick_;
  device device_;
  irqfd_table table_;
  control control_;
  guest guest_;
  std::thread control_thread_;
  std::thread guest_thread_;
  std::thread device_thread_;
};

}  // namespace irqfd
