// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <getopt.h>

#include <array>
#include <cstdint>
#include <string>

#include "units.hpp"

namespace aio_copy {
namespace {

constexpr std::int64_t max_depth = 4096;
constexpr std::int64_t max_block = 64 << 20;

constexpr std::array long_options{
    option{"depth", required_argument, nullptr, 'd'},
    option{"block", required_argument, nullptr, 'b'},
    option{"help", no_argument, nullptr, 'h'},
    option{nullptr, 0, nullptr, 0},
};

std::int64_t number_up_to(std::int64_t max, const char* name, const char* text) {
  const auto number = parse_bytes(text);
  if (!number || *number < 1 || *number > max)
    throw usage_error{std::string{name} + " takes a number from 1 to " + std::to_string(max) + ", not '" + text + "'"};
  return *number;
}

}  // namespace

const char* const usage =
    "usage: aio_copy SRC DST [--depth N] [--block BYTES]\n"
    "\n"
    "Copies the file SRC to DST with up to N requests in flight (32), each of up to BYTES (256K; K, M and G\n"
    "are units), syncs the copy to disk, and reads it back to compare its checksum with that of SRC.\n"
    "Holes remain holes. DST is replaced after all steps have succeeded; on failure it is not changed.\n"
    "\n"
    "Exit status: 0 copied and verified, 1 failed, 2 bad command line, 128 + n ended by signal n.\n";

std::optional<options> parse_options(int argc, char** argv) {
  options parsed;
  for (;;) {
    const int option = ::getopt_long(argc, argv, "", long_options.data(), nullptr);
    if (option < 0) break;
    if (option == 'h') return std::nullopt;
    if (option == 'd')
      parsed.depth = static_cast<unsigned>(number_up_to(max_depth, "--depth", optarg));
    else if (option == 'b')
      parsed.block = static_cast<std::size_t>(number_up_to(max_block, "--block", optarg));
    else
      throw usage_error{"see aio_copy --help"};
  }
  if (argc - optind != 2) throw usage_error{"takes two files, SRC and DST; see aio_copy --help"};
  parsed.source = argv[optind];
  parsed.destination = argv[optind + 1];
  return parsed;
}

}  // namespace aio_copy
