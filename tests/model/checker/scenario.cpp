// SPDX-License-Identifier: Apache-2.0
#include "scenario.hpp"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "failure.hpp"
#include "tracking.hpp"

namespace doorbell::model {
namespace {

std::vector<scenario>& registered() {
  static std::vector<scenario> all;
  return all;
}

std::set<std::string>& known_outcomes() {
  static std::set<std::string> all;
  return all;
}

}  // namespace

std::span<const scenario> all_scenarios() noexcept { return registered(); }

bool add_scenario(const scenario& one) {
  registered().push_back(one);
  return true;
}

std::string take_outcomes() {
  std::string text;
  for (const auto& each : std::exchange(known_outcomes(), {})) text.append(text.empty() ? "" : " ").append(each);
  return text;
}

void outcome(std::initializer_list<int> what) {
  const not_tracked here;
  std::string text;
  for (const int digit : what) text += static_cast<char>('0' + digit);
  known_outcomes().insert(text);
}

void require(bool condition, const char* text) noexcept {
  if (condition) return;
  const not_tracked here;
  fail(failure::assertion, std::string{"false: "} + text);
}

void run_on_cpu(unsigned number) noexcept { scheduler::one().current().cpu = number; }

unsigned any_below(unsigned limit) noexcept { return scheduler::one().pick(limit); }

}  // namespace doorbell::model
