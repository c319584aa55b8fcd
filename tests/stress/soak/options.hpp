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
  std::optional<aio::engine_kind> engine;  ///< of its contexts; empty: both in turn
};

/// Explains itself and exits for --help, and for what it does not understand.
[[nodiscard]] options parse_options(int argc, char** argv);

}  // namespace doorbell::soak
