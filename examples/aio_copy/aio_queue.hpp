// SPDX-License-Identifier: Apache-2.0
//
// aio_queue: AIO requests that coroutines await.
//
// Requests that are started in one round of the loop are submitted together; their completions signal one eventfd, for
// which the loop waits, and all completions that are there are handled in one round. No thread of the program waits for
// I/O.
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
  /// Cancels the requests in flight and waits for them: no buffer is touched after that. Then destroys the coroutines
  /// that await it; they are not resumed.
  ~aio_queue() = default;

  /// Carries a request out.
  /// @return as in an io_event: bytes, or -errno.
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
  std::vector<doorbell::aio::iocb*> ready_;  // to be submitted in this turn of the loop
  bool submit_posted_ = false;

  // In this order: the context is destroyed first, and only then the coroutines, whose buffers it reads and writes.
  std::unordered_map<doorbell::aio::iocb*, handler> awaited_;
  doorbell::asio::eventfd bell_;
  doorbell::aio::context context_;
};

}  // namespace aio_copy
