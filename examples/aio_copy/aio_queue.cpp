// SPDX-License-Identifier: Apache-2.0
#include "aio_queue.hpp"

#include <array>
#include <iterator>
#include <system_error>
#include <utility>

#include <boost/asio/append.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace aio_copy {

namespace aio = doorbell::aio;
namespace net = boost::asio;

aio_queue::aio_queue(net::io_context& io, unsigned depth) : io_{io}, efd_{io}, context_{depth} {
  net::co_spawn(io, hand_out_when_rung(), net::detached);
}

// The request is in the coroutine's frame, so its address does not change before its event has been received.
net::awaitable<std::int64_t> aio_queue::run(aio::iocb request) {
  request.set_eventfd(efd_.handle());
  auto initiate = [this](auto resume, aio::iocb* started) {
    start(*started, [resume = std::move(resume)](std::int64_t result) mutable {
      const auto executor = net::get_associated_executor(resume);
      net::dispatch(executor, net::append(std::move(resume), result));
    });
  };
  const auto result = co_await net::async_initiate<const net::use_awaitable_t<>, void(std::int64_t)>(
      initiate, net::use_awaitable, &request);
  co_return result;
}

void aio_queue::start(aio::iocb& request, handler resume) {
  awaited_.emplace(&request, std::move(resume));
  ready_.push_back(&request);
  submit_soon();
}

void aio_queue::submit_soon() {
  if (std::exchange(submit_posted_, true)) return;
  net::post(io_, [this] {
    submit_posted_ = false;
    submit();
  });
}

// Requests that do not fit into the context wait for the next event. A request that submit refuses ends with its error,
// like a request that fails later.
void aio_queue::submit() {
  while (!ready_.empty()) {
    std::error_code ec;
    const auto taken = context_.submit(ready_, ec);
    ready_.erase(ready_.begin(), std::next(ready_.begin(), static_cast<std::ptrdiff_t>(taken)));
    depth_.add(static_cast<std::int64_t>(taken));
    if (ec == std::errc::resource_unavailable_try_again) return;
    if (ec) refuse_first(-ec.value());
  }
}

void aio_queue::refuse_first(std::int64_t why) {
  auto* const refused = ready_.front();
  ready_.erase(ready_.begin());
  finish(refused, why);
}

net::awaitable<void> aio_queue::hand_out_when_rung() {
  for (;;) {
    co_await efd_.async_read(net::use_awaitable);
    hand_out();
  }
}

void aio_queue::hand_out() {
  constexpr std::size_t most_events = 64;
  std::array<aio::io_event, most_events> room{};
  for (;;) {
    const auto events = context_.get_events(0, room);
    depth_.add(-static_cast<std::int64_t>(events.size()));
    for (const auto& event : events) finish(event.obj, event.res);
    if (events.size() < room.size()) break;
  }
  if (!ready_.empty()) submit_soon();
}

void aio_queue::finish(aio::iocb* request, std::int64_t result) {
  auto ended = awaited_.extract(request);
  ended.mapped()(result);
}

}  // namespace aio_copy
