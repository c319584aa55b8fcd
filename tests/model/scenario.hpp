// SPDX-License-Identifier: Apache-2.0
//
// The interface for scenarios:
//
//   // The possible bug, and the oracle in one sentence:
//   SCENARIO(kref_last_put, 3, "exactly one put returns that it was the last") {
//     kref references{2};                        // set up, alone
//     int last = 0;
//     together({{"first", [&] { if (references.put()) ++last; }},      // run concurrently, in every order
//               {"second", [&] { if (references.put()) ++last; }}});
//     REQUIRE(last == 1);                        // alone again
//   }
//
// A scenario runs from its beginning for each schedule, so it creates and frees all objects that it uses. It must be
// deterministic: it depends on nothing random, and not on the time.
//
// Loads return sequentially consistent values, except in
//
//   AND_WEAK(kref_last_put, 3, 2);               // which is kref_last_put_weak: 3 preemptions, and 2 older values
//   WEAK_SCENARIO(ring_publication, 3, 2, "...") { ... }
//
// and in litmus tests, which list all possible outcomes; the model checker must find exactly these:
//
//   LITMUS(litmus_store_buffering, "00 01 10 11", "...") { ... outcome({first, second}); }
//
// Besides a REQUIRE that does not hold, these are failures: a data race, use after free, a double free, an access out
// of bounds, a leak, a deadlock, a lost wakeup, a livelock, a cycle in the lock order, a failed assert().
#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "checker/scheduler.hpp"

namespace doorbell::model {

struct scenario {
  std::string_view name;
  unsigned bound;  ///< greatest number of preemptions; the command line may override it
  unsigned weak;   ///< how many operations of an execution may use an older store; likewise
  std::string_view oracle;
  void (*body)();
  std::string_view outcomes;  ///< of a litmus test: all allowed outcomes, separated by blanks
};

[[nodiscard]] std::span<const scenario> all_scenarios() noexcept;
bool add_scenario(const scenario& one);
/// The outcomes of the executions since the last call, separated by blanks.
[[nodiscard]] std::string take_outcomes();

/// Runs the parts concurrently, and returns when all have ended.
inline void together(std::initializer_list<part> parts) noexcept {
  scheduler::one().together({parts.begin(), parts.size()});
}

/// Runs the parts until the calling thread forks. When the function returns, the calling thread is the only thread of
/// the child: memory is as the parts have left it, and the parts do not continue. Each part is stopped after a
/// number of operations below `steps` (the search tries each number), or where it waits. The child may read everything
/// that they have written, as if they had ended. Their stacks no longer exist.
void together_until_fork(std::initializer_list<part> parts, unsigned steps) noexcept;

/// Starts a background thread, which need not end: doorbell's own threads do not. When the scenario has ended, the
/// thread may be left resting, that is, waiting for work. The seam marks the waits in which a thread rests. If
/// `rests_asleep` is true, the thread also rests in each sleep on a condition variable or a futex.
inline void start_in_background(std::string_view name, void (*body)(void*) noexcept, void* argument,
                                bool rests_asleep = false) noexcept {
  scheduler::one().start_in_background(name, body, argument, rests_asleep);
}
/// Returns when all background threads rest. They execute nothing more until another thread gives them work.
inline void let_background_rest() noexcept { scheduler::one().let_background_rest(); }
/// Returns when all background threads have ended. Their memory may be freed then.
inline void join_background() noexcept { scheduler::one().join_background(); }
/// How many background threads have been started.
[[nodiscard]] inline std::size_t in_background() noexcept { return scheduler::one().in_background(); }
/// Calls `finish` when the scenario has ended and no background thread runs, to free objects that the next execution
/// must not find.
inline void before_end(void (*finish)()) { scheduler::one().before_end(finish); }

/// Fails with `text` unless the condition holds.
void require(bool condition, const char* text) noexcept;

/// From now on the calling thread runs on CPU `number`, 0 or 1. New threads begin on the two CPUs in turn.
void run_on_cpu(unsigned number) noexcept;

/// The outcome of this execution, in digits.
void outcome(std::initializer_list<int> what);

/// A number below `limit`. The search tries each of them.
[[nodiscard]] unsigned any_below(unsigned limit) noexcept;

}  // namespace doorbell::model

#define DOORBELL_MODEL_SCENARIO(name, bound, weak, oracle, outcomes)                          \
  static void scenario_##name();                                                              \
  [[maybe_unused]] static const bool has_##name =                                             \
      doorbell::model::add_scenario({#name, bound, weak, oracle, scenario_##name, outcomes}); \
  static void scenario_##name()

#define SCENARIO(name, bound, oracle) DOORBELL_MODEL_SCENARIO(name, bound, 0, oracle, "")
#define WEAK_SCENARIO(name, bound, weak, oracle) DOORBELL_MODEL_SCENARIO(name, bound, weak, oracle, "")
#define LITMUS(name, outcomes, oracle) DOORBELL_MODEL_SCENARIO(name, 9, 4, oracle, outcomes)
#define AND_WEAK(name, bound, weak)                                                     \
  [[maybe_unused]] static const bool has_##name##_weak = doorbell::model::add_scenario( \
      {#name "_weak", bound, weak, "the same where older values are read", scenario_##name, ""})

#define REQUIRE(condition) doorbell::model::require(static_cast<bool>(condition), #condition)
