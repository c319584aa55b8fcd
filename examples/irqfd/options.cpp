// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <getopt.h>

#include <array>
#include <string>

#include "numbers.hpp"

namespace irqfd {
namespace {

constexpr std::uint64_t max_depth = 1024;
constexpr std::uint64_t max_cycles = 1'000'000'000;

constexpr std::array long_options{
    option{"socket", required_argument, nullptr, 's'}, option{"image", required_argument, nullptr, 'i'},
    option{"depth", required_argument, nullptr, 'd'},  option{"cycles", required_argument, nullptr, 'c'},
    option{"help", no_argument, nullptr, 'h'},         option{nullptr, 0, nullptr, 0},
};

std::uint64_t number_up_to(std::uint64_t max, const char* name, const char* text) {
  const auto number = parse_number(text);
  if (!number || *number < 1 || *number > max)
    throw usage_error{std::string{name} + " takes a number from 1 to " + std::to_string(max) + ", not '" + text + "'"};
  return *number;
}

void take(options& parsed, int option) {
  switch (option) {
    case 's':
      parsed.socket = optarg;
      break;
    case 'i':
      parsed.image = optarg;
      break;
    case 'd':
      parsed.depth = number_up_to(max_depth, "--depth", optarg);
      break;
    case 'c':
      parsed.cycles = number_up_to(max_cycles, "--cycles", optarg);
      break;
    default:
      throw usage_error{"see irqfd --help"};
  }
}

}  // namespace

const char* const usage =
    "usage: irqfd --socket PATH [--image FILE] [--depth N]\n"
    "       irqfd --cycles N [--socket PATH] [--image FILE] [--depth N]\n"
    "\n"
    "A guest whose driver keeps a disk busy, with N requests in flight (16), and verifies each block that it reads,\n"
    "from FILE or from a temporary file of 4 MiB. Its interrupts are irqfds. Commands on the UNIX socket PATH assign\n"
    "and deassign them:\n"
    "\n"
    "  assign VECTOR, deassign VECTOR, count VECTOR      answered with \"ok COUNT\" or \"error: ...\"\n"
    "\n"
    "Runs until SIGINT, SIGTERM or SIGHUP, or for N cycles of assign and deassign that it requests itself.\n"
    "\n"
    "Exit status: 0 no interrupt came after a deassign and every block was right, 1 otherwise, 2 bad command line.\n";

std::optional<options> parse_options(int argc, char** argv) {
  options parsed;
  for (;;) {
    const int option = ::getopt_long(argc, argv, "", long_options.data(), nullptr);
    if (option < 0) break;
    if (option == 'h') return std::nullopt;
    take(parsed, option);
  }
  if (optind != argc) throw usage_error{"unknown argument '" + std::string{argv[optind]} + "'; see irqfd --help"};
  if (!parsed.cycles && parsed.socket.empty()) throw usage_error{"needs --socket or --cycles; see irqfd --help"};
  return parsed;
}

}  // namespace irqfd
