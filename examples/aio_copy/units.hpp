// SPDX-License-Identifier: Apache-2.0
//
// Numbers of bytes and seconds as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aio_copy {

/// A whole number, perhaps with a unit: K, M or G for 1024 bytes and so on. @return nothing when it is not one.
[[nodiscard]] std::optional<std::int64_t> parse_bytes(std::string_view text);

/// "512 B", "130.2 MiB".
[[nodiscard]] std::string format_bytes(double bytes);

/// "0:07", "1:02:03".
[[nodiscard]] std::string format_seconds(double seconds);

}  // namespace aio_copy
