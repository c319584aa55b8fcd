// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/this_cpu.hpp>

#include <unistd.h>

#include <algorithm>

#include <doorbell/base/atomic.hpp>

namespace doorbell::base {

unsigned possible_cpus() noexcept {
  // sysconf() reads a file, so the result is kept. Several threads may compute it. A local static would have a lock,
  // which a child that is forked meanwhile would find locked for ever.
  static constinit atomic<unsigned> known{0};
  auto cpus = known.load(memory_order_relaxed);
  if (cpus == 0) {
    cpus = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_CONF)));
    known.store(cpus, memory_order_relaxed);
  }
  return cpus;
}

}  // namespace doorbell::base
