// SPDX-License-Identifier: Apache-2.0
//
// The interface for scenarios:
//
//   // The possible bug, and the oracle in one sentence:
//   SCENARIO(kref_last_put, 3, "exactly one put is told that it was the last") {
//     kref references{2};                        // set up, alone
//     int last = 0;
//     together({{"first", [&] { if (references.put()) ++last; }},      // run concurrently, in every order
//               {"second", [&] { if (references.put()) ++last; }}});
//     REQUIRE(last == 1);                        // alone again
//   }
//
// It runs from its beginning for each schedule, so it creates and frees all objects that it uses. It does the same each
// time: nothing in it is random, or depends on the time.
//
// The values of its atomics are sequentially consistent, except in
//
//   AND_WEAK(kref_last_put, 3, 2);               // which is kref_last_put_weak: 3 preemptions, and 2 older values
//   WEAK_SCENARIO(ring_publication, 3, 2, "...") { ... }
//
// and in litmus tests, which list all possible outcomes; the model checker must find exactly these:
//
//   LITMUS(litmus_store_buffering, "00 01 10 11", "...") { ... outcome({first, second}); }
//
// Besides what it requires itself, these are failures: a data race, use after free, a double free, an access out of
// bounds, a leak, a deadlock, a lost wakeup, a livelock, mutexes taken in an order that is a circle, assert().
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
  unsigned bound;  ///< of preemptions, to be explored unless the command says otherwise
  unsigned weak;   ///< how many older values of atomics may be read in an execution, likewise
  std::string_view oracle;
  void (*body)();
  std::string_view outcomes;  ///< of a litmus test: each, with a blank between them
};

[[nodiscard]] std::span<const scenario> all_scenarios() noexcept;
bool add_scenario(const scenario& one);
/// The outcomes of the executions since the last call, with a blank between them.
[[nodiscard]] std::string take_outcomes();

/// Runs them concurrently, and returns when all have ended.
inline void together(std::initializer_list<part> parts) noexcept {
  scheduler::one().together({parts.begin(), parts.size()});
}

/// Runs the parts up to a fork(2) by the calling thread, which is in the child when this returns: memory is as the
/// parts have left it, and they do not go on. Each is stopped before any of its first `steps` operations, or where it
/// waits. The child may read what they have written as if they had ended; their stacks are gone.
void together_until_fork(std::initializer_list<part> parts, unsigned steps) noexcept;

/// Starts a thread that need not end, as doorbell's own do not. It is left where it rests when the scenario has ended:
/// where it waits for work, and no thread is left that could give it any. A wait that the seam says is such a rest; for
/// a thread that `rests_asleep`, each sleep on a condition variable or a futex, too.
inline void start_in_background(std::string_view name, void (*body)(void*) noexcept, void* argument,
                                bool rests_asleep = false) noexcept {
  scheduler::one().start_in_background(name, body, argument, rests_asleep);
}
/// Returns when all of those rest. They do nothing more afterwards.
inline void let_background_rest() noexcept { scheduler::one().let_background_rest(); }
/// Returns when all of those have ended: the memory that they used may be freed then.
inline void join_background() noexcept { scheduler::one().join_background(); }
/// How many of those have been started.
[[nodiscard]] inline std::size_t in_background() noexcept { return scheduler::one().in_background(); }
/// Calls `finish` when the scenario has ended and they are gone, to free objects that the next execution must not find.
inline void before_end(void (*finish)()) { scheduler::one().before_end(finish); }

/// Fails with `text` unless the condition holds.
void require(bool condition, const char* text) noexcept;

/// From now on the calling thread runs on that CPU, of two. Threads begin on one each, in turn.
void run_on_cpu(unsigned number) noexcept;

/// The outcome of this execution, in digits.
void outcome(std::initializer_list<int> what);

/// A number below `limit`, each of which is tried.
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
