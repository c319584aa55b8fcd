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
  std::filesystem::path socket;         ///< none: one in a folder of its own
  std::filesystem::path image;          ///< none: one that is made
  std::size_t depth = 16;               ///< requests in flight
  std::optional<std::uint64_t> cycles;  ///< none: until a signal
};

/// The command line is not understood.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

extern const char* const usage;

/// @return nothing when help is asked for.
[[nodiscard]] std::optional<options> parse_options(int argc, char** argv);

}  // namespace irqfd
