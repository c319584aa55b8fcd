// SPDX-License-Identifier: Apache-2.0
//
// Parses and formats numbers of bytes and seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aio_copy {

/// Parses a whole number with an optional unit: K, M or G, for powers of 1024. @return nothing if `text` is invalid.
[[nodiscard]] std::optional<std::int64_t> parse_bytes(std::string_view text);

/// "512 B", "130.2 MiB".
[[nodiscard]] std::string format_bytes(double bytes);

/// "0:07", "1:02:03".
[[nodiscard]] std::string format_seconds(double seconds);

}  // namespace aio_copy
