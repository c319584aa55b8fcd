// SPDX-License-Identifier: Apache-2.0
//
// machine_operator: a client of the control socket that assigns and deassigns repeatedly, and counts the interrupts
// that come after a deassign.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

namespace irqfd {

class machine_operator {
 public:
  explicit machine_operator(const std::filesystem::path& socket);

  /// Each cycle assigns a vector and deassigns it. Every second cycle waits for an interrupt in between; in the others
  /// the deassign races with interrupts. Throws if an answer is an error.
  void cycle(std::uint64_t times);

  /// The number of interrupts between the end of a deassign and the next assign of the same vector.
  [[nodiscard]] std::uint64_t late() const noexcept { return late_; }

 private:
  std::uint64_t ask(const std::string& command, unsigned vector);

  boost::asio::io_context io_;
  boost::asio::local::stream_protocol::socket socket_{io_};
  std::string input_;
  std::uint64_t late_ = 0;
};

}  // namespace irqfd
