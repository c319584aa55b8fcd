// SPDX-License-Identifier: Apache-2.0
#include "operator.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string_view>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "interrupts.hpp"
#include "numbers.hpp"

namespace irqfd {

namespace net = boost::asio;

namespace {

constexpr std::string_view ok = "ok ";

}  // namespace

machine_operator::machine_operator(const std::filesystem::path& socket) { socket_.connect(socket.string()); }

void machine_operator::cycle(std::uint64_t times) {
  std::array<std::uint64_t, interrupts::vectors> at_deassign{};
  for (std::uint64_t i = 0; i < times; ++i) {
    const auto vector = static_cast<unsigned>(1 + i % (interrupts::vectors - 1));
    const auto before = ask("assign", vector);
    late_ += before - at_deassign.at(vector);
    while (i % 2 == 0 && ask("count", vector) == before) {
    }
    at_deassign.at(vector) = ask("deassign", vector);
  }
}

std::uint64_t machine_operator::ask(const std::string& command, unsigned vector) {
  const auto line = command + ' ' + std::to_string(vector);
  net::write(socket_, net::buffer(line + '\n'));
  const auto end = net::read_until(socket_, net::dynamic_buffer(input_), '\n');
  const auto answer = input_.substr(0, end - 1);
  input_.erase(0, end);
  const auto count = answer.starts_with(ok) ? parse_number(std::string_view{answer}.substr(ok.size())) : std::nullopt;
  if (!count) throw std::runtime_error{"'" + line + "' was answered with '" + answer + "'"};
  return *count;
}

}  // namespace irqfd
