// SPDX-License-Identifier: Apache-2.0
//
// control: a UNIX socket on which irqfds are assigned and deassigned while all runs. A line is a command, and each has
// one line for its answer:
//
//   assign VECTOR       ok COUNT     how often the vector had been injected before
//   deassign VECTOR     ok COUNT     and how often until now; it does not change any more until the next assign
//   count VECTOR        ok COUNT
//
// or "error: " and what is wrong. Vectors are 1 to 31; 0 is the disk driver's own.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "interrupts.hpp"
#include "irqfd_table.hpp"

namespace irqfd {

class control {
 public:
  /// Listens from here on. `table` is used in run(), by its thread.
  control(std::filesystem::path socket, irqfd_table& table, const interrupts& counts);
  control(const control&) = delete;
  control& operator=(const control&) = delete;
  /// Removes the socket.
  ~control();

  /// Returns after stop().
  void run() { io_.run(); }
  /// From any thread.
  void stop() { io_.stop(); }

 private:
  using stream = boost::asio::local::stream_protocol;

  boost::asio::awaitable<void> accept();
  boost::asio::awaitable<void> serve(stream::socket peer);
  [[nodiscard]] std::string answer(std::string_view line);
  [[nodiscard]] std::string carry_out(std::string_view command, unsigned vector);

  boost::asio::io_context io_{1};
  const std::filesystem::path socket_;
  irqfd_table& table_;
  const interrupts& counts_;
  stream::acceptor acceptor_;
};

}  // namespace irqfd
