// SPDX-License-Identifier: Apache-2.0
#include "device.hpp"

#include <array>
#include <system_error>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "rethrow.hpp"

namespace irqfd {

namespace aio = doorbell::aio;
namespace net = boost::asio;

device::device(disk_queue& queue, const disk_image& image, const doorbell::eventfd& kick, doorbell::eventfd line)
    : queue_{queue},
      image_{image},
      line_{std::move(line)},
      kick_{io_, kick},
      requests_(queue.depth()),
      context_{static_cast<unsigned>(queue.depth())} {}

void device::run() {
  net::co_spawn(io_, serve_kicks(), rethrow);
  net::co_spawn(io_, serve_completions(), rethrow);
  io_.run();
}

net::awaitable<void> device::serve_kicks() {
  boost::system::error_code ec;
  for (;;) {
    co_await kick_.async_read(net::redirect_error(net::use_awaitable, ec));
    if (ec) break;
    while (const auto asked = queue_.available.pop()) start(*asked);
  }
  guest_is_gone_ = true;
  if (in_flight_ == 0) done_.cancel();
}

net::awaitable<void> device::serve_completions() {
  boost::system::error_code ec;
  while (!guest_is_gone_ || in_flight_ > 0) {
    co_await done_.async_read(net::redirect_error(net::use_awaitable, ec));
    hand_out();
  }
}

// For the guest, a request that submit refuses is a completion with an error.
void device::start(const request& asked) {
  auto& read = requests_[asked.slot];
  read = aio::prep_pread(image_.fd(), queue_.buffer(asked.slot), static_cast<std::int64_t>(asked.block * block_size));
  read.set_eventfd(done_.handle());
  std::error_code ec;
  context_.submit({&read}, ec);
  if (ec)
    complete(asked.slot, -ec.value());
  else
    ++in_flight_;
}

// Pushes the completion before the signal, so that the interrupted guest finds it in the queue.
void device::complete(std::size_t slot, std::int64_t result) {
  queue_.used.push({slot, result});
  line_.signal();
}

void device::hand_out() {
  std::array<aio::io_event, 32> room{};
  for (;;) {
    const auto events = context_.get_events(0, room);
    if (events.empty()) break;
    in_flight_ -= events.size();
    for (const auto& event : events) complete(static_cast<std::size_t>(event.obj - requests_.data()), event.res);
  }
}

}  // namespace irqfd
