// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <optional>

namespace doorbell::base {

/// Whether two descriptors refer to the same open file: fcntl(2) F_DUPFD_QUERY, since Linux 6.10; else kcmp(2). Opens
/// nothing, and needs no /proc.
/// @return nothing if the kernel has neither, or a sandbox refuses both. False for a descriptor that is not open.
/// Thread safety: may be called concurrently. Changes errno.
[[nodiscard]] std::optional<bool> compare_files(int one, int other) noexcept;

}  // namespace doorbell::base
