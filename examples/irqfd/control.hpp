// SPDX-License-Identifier: Apache-2.0
//
// control: a UNIX socket that accepts commands to assign and deassign irqfds while the machine runs. Each command is
// one line, and so is each answer:
//
//   assign VECTOR       ok COUNT     the number of injections of the vector so far
//   deassign VECTOR     ok COUNT     the same; it does not change until the next assign
//   count VECTOR        ok COUNT     the same
//
// An answer that begins with "error: " describes an error. Vectors are 1 to 31; vector 0 belongs to the disk driver.
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
  /// Starts to listen. The thread of run() uses `table`.
  control(std::filesystem::path socket, irqfd_table& table, const interrupts& counts);
  control(const control&) = delete;
  control& operator=(const control&) = delete;
  /// Removes the socket.
  ~control();

  /// Returns after stop().
  void run() { io_.run(); }
  /// May be called by any thread.
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
