// SPDX-License-Identifier: Apache-2.0
//
// Checks that the headers, the library and the CMake package have the same version, and that an eventfd counts.
#include <doorbell/eventfd.hpp>
#include <doorbell/version.hpp>

#include <string_view>

int main() {
  if (std::string_view{DOORBELL_VERSION_STRING} != PACKAGE_VERSION) return 1;
  if (std::string_view{doorbell::library_version_string()} != PACKAGE_VERSION) return 2;
  if (doorbell::library_version() != DOORBELL_VERSION) return 3;
  doorbell::eventfd counter;
  counter.signal(42);
  return counter.read() == 42 ? 0 : 4;
}
