// SPDX-License-Identifier: Apache-2.0
//
// fdinfo: the kernel's text about an eventfd (proc(5), /proc/PID/fdinfo). It needs /proc, and permission of the process
// to read its own entry, so no correct result may depend on it alone.
//
// The path leads through the thread's own entry in /proc, because a thread may have its own table of descriptors. After
// that thread has ended, the opened text cannot be read any more.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell {

/// @return empty, with errno set, if there is no fdinfo.
[[nodiscard]] inline base::unique_fd open_fdinfo(int fd) noexcept {
  std::array<char, 48> path{};
  std::snprintf(path.data(), path.size(), "/proc/thread-self/fdinfo/%d", fd);
  return base::unique_fd{::open(path.data(), O_RDONLY | O_CLOEXEC)};
}

/// @param info a descriptor from open_fdinfo().
/// @return the count of the eventfd; nullopt if the text is not of an eventfd, or cannot be read.
[[nodiscard]] inline std::optional<std::uint64_t> read_eventfd_count(int info) noexcept {
  std::array<char, 512> buffer{};
  const auto size = ::pread(info, buffer.data(), buffer.size(), 0);
  if (size <= 0) return std::nullopt;
  constexpr std::string_view key = "eventfd-count:";
  const std::string_view text{buffer.data(), static_cast<std::size_t>(size)};
  const auto at = text.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  const auto digits = text.find_first_not_of(" \t", at + key.size());
  if (digits == std::string_view::npos) return std::nullopt;
  std::uint64_t count = 0;  // equivalent fault (constant): it is returned only if from_chars() has set it
  const auto parsed = std::from_chars(text.data() + digits, text.data() + text.size(), count, 16);
  return parsed.ec == std::errc{} ? std::optional{count} : std::nullopt;
}

}  // namespace doorbell
