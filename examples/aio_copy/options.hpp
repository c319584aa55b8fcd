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
  std::size_t block = 256 << 10;  ///< bytes a request reads or writes at most
};

/// The command line is not understood.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

extern const char* const usage;

/// @return nothing when help is asked for.
[[nodiscard]] std::optional<options> parse_options(int argc, char** argv);

}  // namespace aio_copy
