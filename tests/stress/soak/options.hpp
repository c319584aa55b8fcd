// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include <doorbell/aio_engine.hpp>

namespace doorbell::soak {

struct options {
  std::chrono::duration<double> length = std::chrono::minutes{30};
  std::uint64_t seed = 1;
  bool events = false;                     ///< the soak of events instead
  std::optional<aio::engine_kind> engine;  ///< of the contexts of that soak; empty: both, at random
};

/// Prints the usage and exits for --help and for unknown arguments.
[[nodiscard]] options parse_options(int argc, char** argv);

}  // namespace doorbell::soak
