// SPDX-License-Identifier: Apache-2.0
#include <doorbell/version.hpp>

namespace doorbell {

int library_version() noexcept { return DOORBELL_VERSION; }

const char* library_version_string() noexcept { return DOORBELL_VERSION_STRING; }

}  // namespace doorbell
