// SPDX-License-Identifier: Apache-2.0
//
// A file server over TCP. For each client, reads of the file run up to four blocks ahead of the data sent. A client
// that does not accept a block within two seconds is dropped. The program also contains three clients: two read
// everything, and one reads nothing.
//
// usage: file_server FILE
#include <doorbell/asio.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace {

namespace net = boost::asio;
using namespace net::experimental::awaitable_operators;
using boost::system::error_code;
using net::use_awaitable;
using net::ip::tcp;

constexpr std::chrono::seconds patience{2};

/// The transfer of the file to one client, through a ring of blocks. `empty_` counts the blocks that may be read into,
/// and `full_` counts the blocks that may be sent.
class transfer {
 public:
  transfer(tcp::socket client, const char* path)
      : client_{std::move(client)},
        file_{client_.get_executor(), path, doorbell::asio::file_base::read_only},
        timer_{client_.get_executor()},
        empty_{client_.get_executor(), blocks},
        full_{client_.get_executor(), 0} {
    client_.set_option(net::socket_base::send_buffer_size{64 << 10});
  }

  /// If one of the two coroutines ends with an error, the other is cancelled. A read from the disk cannot be stopped:
  /// `&&` waits for it, so that its buffer remains valid.
  net::awaitable<void> run() { co_await (read_ahead() && send()); }

 private:
  static constexpr unsigned blocks = 4;

  struct block {
    std::vector<char> bytes = std::vector<char>(256 << 10);
    std::size_t size = 0;  // 0 at the end of the file
  };

  net::awaitable<void> read_ahead() {
    std::uint64_t offset = 0;
    for (std::size_t i = 0;; ++i) {
      co_await empty_.async_acquire(use_awaitable);
      auto& next = ring_.at(i % blocks);
      const auto [ec, size] =
          co_await file_.async_read_some_at(offset, net::buffer(next.bytes), net::as_tuple(use_awaitable));
      if (ec && ec != net::error::eof) throw boost::system::system_error{ec, "read"};
      next.size = size;
      offset += size;
      full_.release();
      if (size == 0) co_return;
    }
  }

  net::awaitable<void> send() {
    for (std::size_t i = 0;; ++i) {
      co_await full_.async_acquire(use_awaitable);
      const auto& next = ring_.at(i % blocks);
      if (next.size == 0) co_return;
      timer_.expires_after(patience);
      const auto first =
          co_await (net::async_write(client_, net::buffer(next.bytes.data(), next.size), use_awaitable) ||
                    timer_.async_wait(use_awaitable));
      if (first.index() != 0) throw boost::system::system_error{net::error::timed_out, "send"};
      empty_.release();
    }
  }

  tcp::socket client_;
  doorbell::asio::random_access_file file_;
  net::steady_timer timer_;
  doorbell::asio::semaphore empty_;
  doorbell::asio::semaphore full_;
  std::array<block, blocks> ring_;
};

struct tally {
  int served = 0;
  int dropped = 0;
};

net::awaitable<void> serve(tcp::socket client, const char* path, tally& clients) {
  try {
    transfer file{std::move(client), path};
    co_await file.run();
    ++clients.served;
  } catch (const std::exception& why) {
    std::fprintf(stderr, "dropped: %s\n", why.what());
    ++clients.dropped;
  }
}

net::awaitable<void> accept(tcp::acceptor& acceptor, int how_many, const char* path, tally& clients) {
  for (int i = 0; i < how_many; ++i) {
    auto client = co_await acceptor.async_accept(use_awaitable);
    net::co_spawn(acceptor.get_executor(), serve(std::move(client), path, clients), net::detached);
  }
}

/// @return whether the server has sent exactly the expected bytes.
bool is_sent(const tcp::endpoint& server, const std::string& expected) {
  net::io_context io;
  tcp::socket socket{io};
  socket.connect(server);
  std::string received;
  error_code ec;
  net::read(socket, net::dynamic_buffer(received), ec);
  return ec == net::error::eof && received == expected;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fputs("usage: file_server FILE\n", stderr);
    return 2;
  }
  std::ifstream file{argv[1], std::ios::binary};
  const std::string content{std::istreambuf_iterator<char>{file}, {}};

  net::io_context io;
  tcp::acceptor acceptor{io, tcp::endpoint{net::ip::address_v4::loopback(), 0}};
  tally clients;
  net::co_spawn(io, accept(acceptor, 3, argv[1], clients), net::detached);
  tcp::socket takes_nothing{io};
  takes_nothing.connect(acceptor.local_endpoint());
  std::array<bool, 2> complete{};
  {
    std::vector<std::jthread> readers;
    readers.reserve(complete.size());
    for (auto& each : complete)
      readers.emplace_back([&each, &content, server = acceptor.local_endpoint()] { each = is_sent(server, content); });
    io.run();
  }
  std::printf("%d served, %d dropped\n", clients.served, clients.dropped);
  return complete[0] && complete[1] ? 0 : 1;
} catch (const std::exception& why) {
  std::fprintf(stderr, "%s\n", why.what());
  return 1;
}
