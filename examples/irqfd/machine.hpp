// SPDX-License-Identifier: Apache-2.0
//
// machine: runs guest, device and control in one thread each, from construction until stop(). An exception in one of
// the threads ends the program, because the other threads would wait for it forever.
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
  /// @param image see disk_image. @param depth the number of requests in flight. @param socket the path of the control
  /// socket.
  machine(const std::filesystem::path& image, std::size_t depth, const std::filesystem::path& socket);
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  ~machine() { stop(); }

  /// Ends the threads: first control, then the guest, then the device, which ends after the guest.
  void stop();

  [[nodiscard]] const interrupts& controller() const noexcept { return interrupts_; }
  /// Valid after stop() has returned.
  [[nodiscard]] const guest& guest_driver() const noexcept { return guest_; }
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
