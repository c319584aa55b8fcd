// SPDX-License-Identifier: Apache-2.0
//
// device: a disk, in a loop of its own. The guest rings the kick; the device starts AIO for what it finds in the queue,
// and the completions ring an eventfd that the loop awaits; for each of them it signals the line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <doorbell/aio.hpp>
#include <doorbell/asio.hpp>

#include "disk_image.hpp"
#include "disk_queue.hpp"

namespace irqfd {

class device {
 public:
  /// All of them outlive the device. It holds no handle on `kick`: when the guest has closed its own, the device ends.
  device(disk_queue& queue, const disk_image& image, const doorbell::eventfd& kick, doorbell::eventfd line);

  /// Returns when the guest has closed its handle on the kick, and all that it asked for is done.
  void run();

  [[nodiscard]] std::string_view engine() const noexcept { return context_.engine(); }

 private:
  boost::asio::awaitable<void> serve_kicks();
  boost::asio::awaitable<void> serve_completions();
  void start(const request& asked);
  void hand_out();
  void complete(std::size_t slot, std::int64_t result);

  boost::asio::io_context io_{1};
  disk_queue& queue_;
  const disk_image& image_;
  const doorbell::eventfd line_;
  doorbell::asio::eventfd kick_;
  doorbell::asio::eventfd done_{io_};
  std::vector<doorbell::aio::iocb> requests_;  // one for each slot
  doorbell::aio::context context_;
  std::size_t in_flight_ = 0;
  bool guest_is_gone_ = false;
};

}  // namespace irqfd
