// SPDX-License-Identifier: Apache-2.0
//
// A loop of Boost.Asio reads the count of an eventfd that was signalled before.
#include <doorbell/asio/eventfd.hpp>
#include <doorbell/eventfd.hpp>

#include <boost/asio/io_context.hpp>
#include <cstdint>

int main() {
  boost::asio::io_context loop;
  doorbell::eventfd counter;
  doorbell::asio::eventfd listener{loop, counter};
  std::uint64_t count = 0;
  listener.async_read([&](const boost::system::error_code&, std::uint64_t value) { count = value; });
  counter.signal(42);
  loop.run();
  return count == 42 ? 0 : 1;
}
