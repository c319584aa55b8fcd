// SPDX-License-Identifier: Apache-2.0
//
// device: a disk, in a loop of its own. The guest signals the kick. The device then submits AIO requests for the
// requests in the queue. Their completions signal an eventfd that the loop awaits, and for each completion the device
// signals the line.
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
  /// The referenced objects outlive the device. The device holds no handle on `kick`, so that it ends when the guest
  /// closes its handle.
  device(disk_queue& queue, const disk_image& image, const doorbell::eventfd& kick, doorbell::eventfd line);

  /// Returns when the guest has closed its handle on the kick and all its requests have completed.
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
