// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/this_cpu.hpp>

#include <unistd.h>

#include <algorithm>

#include <doorbell/base/atomic.hpp>

namespace doorbell::base {

unsigned possible_cpus() noexcept {
  // Read from a file, hence kept. By whoever comes first, at worst by several: were it done under a local static's lock, a
  // child forked meanwhile would find it locked for ever.
  static constinit atomic<unsigned> known{0};
  auto cpus = known.load(memory_order_relaxed);
  if (cpus == 0) {
    cpus = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_CONF)));
    known.store(cpus, memory_order_relaxed);
  }
  return cpus;
}

}  // namespace doorbell::base
