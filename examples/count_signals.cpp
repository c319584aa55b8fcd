// SPDX-License-Identifier: Apache-2.0
//
// A loop that counts the signals of two threads. However late the loop reads, no signal is lost or counted twice. When
// the last handle is closed, the read ends with an error.
#include <doorbell/asio.hpp>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doorbell/eventfd.hpp>

namespace {

constexpr int signals_each = 100'000;

boost::asio::awaitable<void> count(doorbell::asio::eventfd& efd) {
  std::uint64_t signals = 0;
  std::uint64_t wakeups = 0;
  boost::system::error_code ec;
  for (;;) {
    signals += co_await efd.async_read(boost::asio::redirect_error(boost::asio::use_awaitable, ec));
    if (ec) break;
    ++wakeups;
  }
  std::printf("%" PRIu64 " signals, then: %s\n", signals, ec.message().c_str());
  std::fprintf(stderr, "the loop was woken %" PRIu64 " times\n", wakeups);
}

std::jthread signal_from_thread(doorbell::eventfd efd) {
  return std::jthread{[efd = std::move(efd)] {
    for (int i = 0; i < signals_each; ++i) efd.signal();
  }};
}

}  // namespace

int main() {  // NOLINT(bugprone-exception-escape): what goes wrong here may end the program
  boost::asio::io_context io;
  doorbell::eventfd efd;
  doorbell::asio::eventfd listener{io, efd};  // listens, without holding a handle
  boost::asio::co_spawn(io, count(listener), boost::asio::detached);
  const auto first = signal_from_thread(efd);
  const auto second = signal_from_thread(efd);
  efd.close();
  io.run();
}
