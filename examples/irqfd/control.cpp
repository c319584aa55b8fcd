// SPDX-License-Identifier: Apache-2.0
#include "control.hpp"

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/system_error.hpp>

#include "guest.hpp"
#include "numbers.hpp"
#include "rethrow.hpp"

namespace irqfd {

namespace net = boost::asio;

namespace {

constexpr std::size_t longest_line = 256;

net::local::stream_protocol::acceptor listen(net::io_context& io, const std::filesystem::path& socket) {
  try {
    return {io, net::local::stream_protocol::endpoint{socket.string()}};
  } catch (const boost::system::system_error& failure) {
    throw boost::system::system_error{failure.code(), "cannot listen on '" + socket.string() + "'"};
  }
}

std::string ok_and(std::uint64_t count) { return "ok " + std::to_string(count); }

}  // namespace

control::control(std::filesystem::path socket, irqfd_table& table, const interrupts& counts)
    : socket_{std::move(socket)}, table_{table}, counts_{counts}, acceptor_{listen(io_, socket_)} {
  net::co_spawn(io_, accept(), rethrow);
}

control::~control() { ::unlink(socket_.c_str()); }

net::awaitable<void> control::accept() {
  for (;;) net::co_spawn(io_, serve(co_await acceptor_.async_accept(net::use_awaitable)), net::detached);
}

// Ends when the peer closes the connection or sends a line that is too long.
net::awaitable<void> control::serve(stream::socket peer) {
  std::string input;
  boost::system::error_code ec;
  for (;;) {
    const auto end = co_await net::async_read_until(peer, net::dynamic_buffer(input, longest_line), '\n',
                                                    net::redirect_error(net::use_awaitable, ec));
    if (ec) co_return;
    const auto reply = answer(std::string_view{input}.substr(0, end - 1)) + '\n';
    input.erase(0, end);
    co_await net::async_write(peer, net::buffer(reply), net::redirect_error(net::use_awaitable, ec));
    if (ec) co_return;
  }
}

std::string control::answer(std::string_view line) {
  const auto space = line.find(' ');
  if (space == std::string_view::npos) return "error: a command is assign, deassign or count, and a vector";
  const auto text = line.substr(space + 1);
  const auto vector = parse_number(text);
  if (!vector || *vector == guest::disk_vector || *vector >= interrupts::vectors)
    return "error: vectors are 1 to " + std::to_string(interrupts::vectors - 1) + ", not '" + std::string{text} + "'";
  return carry_out(line.substr(0, space), static_cast<unsigned>(*vector));
}

std::string control::carry_out(std::string_view command, unsigned vector) {
  const auto before = counts_.count(vector);
  const auto name = "vector " + std::to_string(vector);
  if (command == "assign") return table_.assign(vector) ? ok_and(before) : "error: " + name + " is assigned already";
  if (command == "deassign")
    return table_.deassign(vector) ? ok_and(counts_.count(vector)) : "error: " + name + " is not assigned";
  if (command == "count") return ok_and(before);
  return "error: unknown command '" + std::string{command} + "'";
}

}  // namespace irqfd
