// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/this_cpu.hpp>

#include <unistd.h>

namespace doorbell::base {

unsigned possible_cpus() noexcept {
  // Read from a file, hence once.
  static const long cpus = ::sysconf(_SC_NPROCESSORS_CONF);
  return cpus > 1 ? static_cast<unsigned>(cpus) : 1;
}

}  // namespace doorbell::base
