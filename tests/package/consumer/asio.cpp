// SPDX-License-Identifier: Apache-2.0
//
// A coroutine reads an eventfd that another thread signals. The program prints the sum of the counts.
#include <boost/asio.hpp>
#include <cstdint>
#include <cstdio>
#include <doorbell/asio.hpp>
#include <thread>
#include <utility>

namespace {

boost::asio::awaitable<void> sum_up(doorbell::asio::eventfd& counter, std::uint64_t& sum) {
  try {
    for (;;) sum += co_await counter.async_read(boost::asio::use_awaitable);
  } catch (const boost::system::system_error&) {  // eof: the last handle is closed
  }
}

}  // namespace

int main() {
  boost::asio::io_context loop;
  doorbell::eventfd counter;
  doorbell::asio::eventfd reader{loop, counter};
  std::uint64_t sum = 0;
  boost::asio::co_spawn(loop, sum_up(reader, sum), boost::asio::detached);
  std::thread writer{[counter = std::move(counter)] {
    for (int n = 0; n < 1000; ++n) counter.signal();
  }};
  loop.run();
  writer.join();
  std::printf("%llu signals\n", static_cast<unsigned long long>(sum));
}
