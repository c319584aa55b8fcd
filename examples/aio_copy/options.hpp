// SPDX-License-Identifier: Apache-2.0
//
// The command line.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <stdexcept>

namespace aio_copy {

struct options {
  std::filesystem::path source;
  std::filesystem::path destination;
  unsigned depth = 32;            ///< requests in flight
  std::size_t block = 256 << 10;  ///< the greatest number of bytes that a request transfers
};

/// The command line is invalid.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

extern const char* const usage;

/// @return nothing if the command line asks for help.
[[nodiscard]] std::optional<options> parse_options(int argc, char** argv);

}  // namespace aio_copy
