// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <optional>

namespace doorbell::base {

/// Whether two descriptors refer to the same open file, by fcntl(2) F_DUPFD_QUERY (since Linux 6.10), otherwise
/// kcmp(2). Opens no file and needs no /proc.
/// @return nullopt if the kernel has neither call, or a sandbox refuses both. False if a descriptor is not open.
/// Thread safety: may be called concurrently. Changes errno.
[[nodiscard]] std::optional<bool> compare_files(int one, int other) noexcept;

}  // namespace doorbell::base
