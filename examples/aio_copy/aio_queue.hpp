// SPDX-License-Identifier: Apache-2.0
//
// aio_queue: lets coroutines await AIO requests.
//
// Requests that are started in one round of the loop are submitted with one call. Their completions signal one eventfd
// that the loop waits for. Each round handles all available completions. No thread of the program blocks on I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <absl/functional/any_invocable.h>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <doorbell/aio.hpp>
#include <doorbell/asio.hpp>

#include "depth_meter.hpp"

namespace aio_copy {

class aio_queue {
 public:
  /// @param depth the greatest number of requests in flight.
  aio_queue(boost::asio::io_context& io, unsigned depth);
  aio_queue(const aio_queue&) = delete;
  aio_queue& operator=(const aio_queue&) = delete;
  /// Cancels the requests in flight and waits until they have ended, so that no buffer is used after that. Then
  /// returns the coroutines that await these requests to the loop, whose destructor destroys the coroutines without
  /// resuming them.
  ~aio_queue() = default;

  /// Submits a request and waits for its completion.
  /// @return the result, as in an io_event: bytes, or -errno.
  boost::asio::awaitable<std::int64_t> run(doorbell::aio::iocb request);

  [[nodiscard]] const depth_meter& depth() const noexcept { return depth_; }
  [[nodiscard]] std::string_view engine() const noexcept { return context_.engine(); }

 private:
  using handler = absl::AnyInvocable<void(std::int64_t)>;

  boost::asio::awaitable<void> hand_out_when_rung();
  void start(doorbell::aio::iocb& request, handler resume);
  void submit_soon();
  void submit();
  void refuse_first(std::int64_t why);
  void hand_out();
  void finish(doorbell::aio::iocb* request, std::int64_t result);

  boost::asio::io_context& io_;
  depth_meter depth_;
  std::vector<doorbell::aio::iocb*> ready_;  // to be submitted in the next round of the loop
  bool submit_posted_ = false;

  // In this order: the context is destroyed before the coroutines, because it reads and writes their buffers.
  std::unordered_map<doorbell::aio::iocb*, handler> awaited_;
  doorbell::asio::eventfd efd_;
  doorbell::aio::context context_;
};

}  // namespace aio_copy
