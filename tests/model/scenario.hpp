// SPDX-License-Identifier: Apache-2.0
//
// What a scenario is written with:
//
//   // What could go wrong, and the oracle in one sentence:
//   SCENARIO(kref_last_put, 3, "exactly one put is told that it was the last") {
//     kref references{2};                        // set up, alone
//     int last = 0;
//     together({{"first", [&] { if (references.put()) ++last; }},      // these run at once, in every order
//               {"second", [&] { if (references.put()) ++last; }}});
//     REQUIRE(last == 1);                        // alone again
//   }
//
// It runs from its beginning for each schedule, so all that it uses it makes itself, and frees; and it does the same each
// time: nothing in it is random, or depends on the time.
//
// Besides what it requires itself, these are failures: a data race, use after free, a double free, an access out of
// bounds, a leak, a deadlock, a lost wakeup, a livelock, mutexes taken in an order that is a circle, assert().
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>

#include "checker/scheduler.hpp"

namespace doorbell::model {

struct scenario {
  std::string_view name;
  unsigned bound;  ///< of preemptions, to be explored unless the command says otherwise
  std::string_view oracle;
  void (*body)();
};

[[nodiscard]] std::span<const scenario> all_scenarios() noexcept;
bool add_scenario(const scenario& one);

/// Runs them at once, and returns when all have ended.
inline void together(std::initializer_list<part> parts) noexcept {
  scheduler::one().together({parts.begin(), parts.size()});
}

/// Fails with `text` unless the condition holds.
void require(bool condition, const char* text) noexcept;

/// From now on the calling thread runs on that CPU, of two. Threads begin on one each, in turn.
void run_on_cpu(unsigned number) noexcept;

/// A number below `limit`, each of which is tried.
[[nodiscard]] unsigned any_below(unsigned limit) noexcept;

}  // namespace doorbell::model

// NOLINTBEGIN(bugprone-macro-parentheses): a name is one
#define SCENARIO(name, bound, oracle)                                         \
  static void scenario_##name();                                              \
  [[maybe_unused]] static const bool has_##name =                             \
      doorbell::model::add_scenario({#name, bound, oracle, scenario_##name}); \
  static void scenario_##name()
// NOLINTEND(bugprone-macro-parentheses)

#define REQUIRE(condition) doorbell::model::require(static_cast<bool>(condition), #condition)
