// SPDX-License-Identifier: Apache-2.0
//
// Two coroutines of Asio: one counts the signals of an eventfd, and one copies a file.
//
// usage: copy FROM TO
#include <boost/asio.hpp>
#include <doorbell/asio.hpp>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

boost::asio::awaitable<void> count(doorbell::asio::eventfd& efd) {
  for (;;) std::printf("%" PRIu64 " signals\n", co_await efd.async_read(boost::asio::use_awaitable));
}

boost::asio::awaitable<void> copy(boost::asio::io_context& io, const char* from, const char* to) {
  using namespace doorbell::asio;
  random_access_file in{io, from, file_base::read_only};
  random_access_file out{io, to, file_base::write_only | file_base::create | file_base::truncate};
  std::vector<char> block(1 << 20);
  for (std::uint64_t at = 0; at < in.size();) {
    std::size_t n = co_await in.async_read_some_at(at, boost::asio::buffer(block), boost::asio::use_awaitable);
    co_await boost::asio::async_write_at(out, at, boost::asio::buffer(block, n), boost::asio::use_awaitable);
    at += n;
  }
  co_await out.async_sync_all(boost::asio::use_awaitable);
}

// The end of the copy closes the last handle, which ends the counting.
int main(int argc, char** argv) try {
  if (argc != 3) {
    std::fputs("usage: copy FROM TO\n", stderr);
    return 2;
  }
  boost::asio::io_context io;
  doorbell::eventfd handle;
  doorbell::asio::eventfd efd{io, handle};
  std::exception_ptr failure;
  const auto copied = [&](const std::exception_ptr& why) {
    failure = why;
    handle.signal();
    handle.close();
  };
  boost::asio::co_spawn(io, count(efd), [](const std::exception_ptr&) {});
  boost::asio::co_spawn(io, copy(io, argv[1], argv[2]), copied);
  io.run();
  if (failure) std::rethrow_exception(failure);
  return 0;
} catch (const std::exception& why) {
  std::fprintf(stderr, "%s\n", why.what());
  return 1;
}
