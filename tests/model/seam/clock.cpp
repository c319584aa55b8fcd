// SPDX-License-Identifier: Apache-2.0
//
// std::chrono::steady_clock. Its time is constant in a scenario, so that nothing depends on the speed of execution. The
// seam decides when timeouts expire (futex.cpp, epoll.cpp).
#include <chrono>
#include <cstdint>

#include "checker/scheduler.hpp"

// NOLINTBEGIN(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
extern "C" {

// steady_clock::now(), whose result is a number of nanoseconds.
std::int64_t __real__ZNSt6chrono3_V212steady_clock3nowEv();

std::int64_t __wrap__ZNSt6chrono3_V212steady_clock3nowEv() {
  constexpr std::chrono::nanoseconds in_scenarios = std::chrono::hours{1};
  const bool is_in_scenario = doorbell::model::scheduler::one().running();
  return is_in_scenario ? in_scenarios.count() : __real__ZNSt6chrono3_V212steady_clock3nowEv();
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
