// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "counters.hpp"

namespace doorbell::libaio {

/// For people: a few lines, with units.
[[nodiscard]] std::string as_text(const counters& all);

/// For programs: one object on one line. Times are in nanoseconds, sizes in bytes.
[[nodiscard]] std::string as_json(const counters& all);

}  // namespace doorbell::libaio
