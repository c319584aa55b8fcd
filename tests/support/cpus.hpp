// SPDX-License-Identifier: Apache-2.0
//
// Chooses the CPU of a thread, for tests of data that is split by CPU.
#pragma once

#include <sched.h>

#include <cstddef>
#include <vector>

namespace doorbell::test {

/// The CPUs that the calling thread may run on.
inline std::vector<std::size_t> allowed_cpus() {
  cpu_set_t set;
  std::vector<std::size_t> cpus;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

/// Keeps the calling thread on one CPU for a scope. The CPU must be one of allowed_cpus().
class on_cpu {
 public:
  explicit on_cpu(std::size_t cpu) noexcept {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    ::sched_setaffinity(0, sizeof only, &only);
  }
  ~on_cpu() { ::sched_setaffinity(0, sizeof before_, &before_); }
  on_cpu(const on_cpu&) = delete;
  on_cpu& operator=(const on_cpu&) = delete;

 private:
  cpu_set_t before_{};
};

}  // namespace doorbell::test
