// SPDX-License-Identifier: Apache-2.0
#include "scenario.hpp"

#include <string>
#include <vector>

#include "failure.hpp"
#include "tracking.hpp"

namespace doorbell::model {
namespace {

std::vector<scenario>& registered() {
  static std::vector<scenario> all;
  return all;
}

}  // namespace

std::span<const scenario> all_scenarios() noexcept { return registered(); }

bool add_scenario(const scenario& one) {
  registered().push_back(one);
  return true;
}

void require(bool condition, const char* text) noexcept {
  if (condition) return;
  const not_tracked here;
  fail(failure::assertion, std::string{"not so: "} + text);
}

void run_on_cpu(unsigned number) noexcept { scheduler::one().current().cpu = number; }

unsigned any_below(unsigned limit) noexcept { return scheduler::one().pick(limit); }

}  // namespace doorbell::model
