// SPDX-License-Identifier: Apache-2.0
//
// The version of doorbell. The macros have the version of these headers, for #if. The functions return the version of
// the linked library, which differs if the program was compiled for another version of the shared library.
//
// CMakeLists.txt reads the project's version from the three numbers below.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <doorbell/base/export.hpp>

#define DOORBELL_VERSION_MAJOR 0
#define DOORBELL_VERSION_MINOR 1
#define DOORBELL_VERSION_PATCH 0

/// 10000 * major + 100 * minor + patch.
#define DOORBELL_VERSION (DOORBELL_VERSION_MAJOR * 10000 + DOORBELL_VERSION_MINOR * 100 + DOORBELL_VERSION_PATCH)

#define DOORBELL_DETAIL_QUOTE(number) #number
#define DOORBELL_DETAIL_DOTTED(major, minor, patch) \
  DOORBELL_DETAIL_QUOTE(major) "." DOORBELL_DETAIL_QUOTE(minor) "." DOORBELL_DETAIL_QUOTE(patch)

/// "major.minor.patch".
#define DOORBELL_VERSION_STRING \
  DOORBELL_DETAIL_DOTTED(DOORBELL_VERSION_MAJOR, DOORBELL_VERSION_MINOR, DOORBELL_VERSION_PATCH)

namespace doorbell {

/// @returns DOORBELL_VERSION of the linked library. May be called by any thread at any time.
[[nodiscard]] DOORBELL_EXPORT int library_version() noexcept;

/// @returns DOORBELL_VERSION_STRING of the linked library, in static storage. May be called by any thread at any time.
[[nodiscard]] DOORBELL_EXPORT const char* library_version_string() noexcept;

}  // namespace doorbell
