// SPDX-License-Identifier: Apache-2.0
//
// The command line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>

namespace irqfd {

struct options {
  std::filesystem::path socket;         ///< if empty, a socket in a temporary folder
  std::filesystem::path image;          ///< if empty, a temporary file
  std::size_t depth = 16;               ///< requests in flight
  std::optional<std::uint64_t> cycles;  ///< if empty, runs until a signal
};

/// The command line is invalid.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

extern const char* const usage;

/// @return nothing if the command line asks for help.
[[nodiscard]] std::optional<options> parse_options(int argc, char** argv);

}  // namespace irqfd
