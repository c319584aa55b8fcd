// SPDX-License-Identifier: Apache-2.0
#include "units.hpp"

#include <absl/strings/str_format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <memory>
#include <system_error>

namespace aio_copy {
namespace {

constexpr double kilo = 1024;

std::optional<int> shift_of(std::string_view unit) {
  if (unit.empty()) return 0;
  if (unit == "K" || unit == "k") return 10;
  if (unit == "M" || unit == "m") return 20;
  if (unit == "G" || unit == "g") return 30;
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> parse_bytes(std::string_view text) {
  std::int64_t number = 0;
  const char* const end = std::to_address(text.end());
  const auto [unit, ec] = std::from_chars(std::to_address(text.begin()), end, number);
  const auto shift = shift_of({unit, static_cast<std::size_t>(end - unit)});
  if (ec != std::errc{} || !shift || number < 0 || number > (INT64_MAX >> *shift)) return std::nullopt;
  return number << *shift;
}

std::string format_bytes(double bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < kilo) return absl::StrFormat("%.0f B", bytes);
  std::size_t unit = 0;
  for (; bytes >= kilo && unit + 1 < units.size(); ++unit) bytes /= kilo;
  return absl::StrFormat("%.1f %s", bytes, units.at(unit));
}

std::string format_seconds(double seconds) {
  constexpr std::int64_t per_minute = 60;
  const auto whole = std::llround(seconds);
  const auto minutes = whole / per_minute;
  if (minutes < per_minute) return absl::StrFormat("%d:%02d", minutes, whole % per_minute);
  return absl::StrFormat("%d:%02d:%02d", minutes / per_minute, minutes % per_minute, whole % per_minute);
}

}  // namespace aio_copy
