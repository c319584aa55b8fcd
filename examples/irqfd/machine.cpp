// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include <utility>

namespace irqfd {

// Moves the only handle on the kick to the guest, which ends the device by closing it.
machine::machine(const std::filesystem::path& image, std::size_t depth, const std::filesystem::path& socket)
    : image_{image},
      queue_{depth},
      device_{queue_, image_, kick_, line_},
      table_{line_, interrupts_},
      control_{socket, table_, interrupts_},
      guest_{queue_, image_, interrupts_, std::move(kick_)} {
  table_.assign(guest::disk_vector);
  device_thread_ = std::thread{[this] { device_.run(); }};
  guest_thread_ = std::thread{[this] { guest_.run(); }};
  control_thread_ = std::thread{[this] { control_.run(); }};
}

void machine::stop() {
  if (!control_thread_.joinable()) return;
  control_.stop();
  control_thread_.join();
  guest_.stop();
  guest_thread_.join();
  device_thread_.join();
}

}  // namespace irqfd
