// SPDX-License-Identifier: Apache-2.0
//
// The names of the engines: in DOORBELL_ENGINE, in doorbell-run --engine, and as the result of context::engine().
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <doorbell/aio_engine.hpp>

namespace doorbell::aio {

struct engine_names {
  std::string_view name;
  std::string_view alias;  ///< empty if there is none
};

/// @return no names for `automatic`, and for a number that is no engine.
[[nodiscard]] constexpr engine_names names_of(engine_kind kind) noexcept {
  switch (kind) {  // no default: the compiler reports an engine without a name
    case engine_kind::automatic:
      break;
    case engine_kind::io_uring:
      return {"io_uring", "uring"};
    case engine_kind::threads:
      return {"threads", {}};
  }
  return {};
}

/// The engines are the numbers from 1 to this one.
inline constexpr int engine_count = [] {
  int count = 0;
  while (!names_of(static_cast<engine_kind>(count + 1)).name.empty()) ++count;
  return count;
}();

/// @return nothing if no engine has this name.
[[nodiscard]] constexpr std::optional<engine_kind> engine_named(std::string_view name) noexcept {
  for (int number = 1; number <= engine_count && !name.empty(); ++number) {
    const auto kind = static_cast<engine_kind>(number);
    if (name == names_of(kind).name || name == names_of(kind).alias) return kind;
  }
  return std::nullopt;
}

}  // namespace doorbell::aio
