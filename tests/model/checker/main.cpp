// SPDX-License-Identifier: Apache-2.0
//
// The model checker's program. A failing execution leaves its threads where they are, so the program executes itself
// again to replay the schedule. The output is that of the replay.
#include <sys/single_threaded.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "depth_first.hpp"
#include "failure.hpp"
#include "options.hpp"
#include "random_priorities.hpp"
#include "replay.hpp"
#include "scenario.hpp"
#include "scheduler.hpp"

namespace doorbell::model {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The sink while schedules are explored: replays the schedule that failed, to show it.
class replaying final : public failure_sink {
 public:
  replaying(const scenario& what, const options& asked) : name_{what.name} {
    if (asked.weak) words_ = {"--weak", std::to_string(*asked.weak)};
  }
  void count() noexcept { ++schedules_; }
  [[nodiscard]] unsigned long schedules() const noexcept { return schedules_; }

  [[noreturn]] void take(failure what, const std::string& text) override {
    auto schedule = scheduler::one().taken().to_string();
    if (schedule.empty()) schedule.push_back(letter_of(0));  // the scenario failed before its threads began
    words_.insert(words_.begin(), "model");
    words_.insert(words_.end(), {"--replay", schedule, name_});
    std::printf("%s: %s: %s\n  in schedule %lu; to replay it:\n ", name_.c_str(), std::string{to_string(what)}.c_str(),
                text.c_str(), schedules_ + 1);
    for (const auto& word : words_) std::printf(" %s", word.c_str());
    std::printf("\n\n");
    std::fflush(stdout);
    std::vector<char*> words;
    for (auto& word : words_) words.push_back(word.data());
    words.push_back(nullptr);
    ::execv("/proc/self/exe", words.data());
    std::_Exit(1);
  }

 private:
  std::string name_;
  std::vector<std::string> words_;  // the command that replays the failure
  unsigned long schedules_ = 0;
};

/// The sink while one schedule is replayed: shows it.
class showing final : public failure_sink {
 public:
  [[nodiscard]] trace& where() noexcept { return trace_; }

  [[noreturn]] void take(failure what, const std::string& text) override {
    set_failure_sink(nothing_more_);
    std::string all{to_string(what)};
    all.append(": ").append(text);
    trace_.end(scheduler::one().current().id, all);
    print();
    std::printf("%s\n", all.c_str());
    std::fflush(stdout);
    std::_Exit(1);
  }

  void print() const {
    std::vector<std::string> names;
    for (const auto& each : scheduler::one().threads())
      if (each.id != 0 && !each.name.empty()) names.push_back(each.name);
    trace_.print(stdout, names);
  }

 private:
  class nothing final : public failure_sink {
    [[noreturn]] void take(failure /*what*/, const std::string& text) override {
      std::printf("second failure, while the trace was printed: %s\n", text.c_str());
      std::_Exit(1);
    }
  };

  trace trace_;
  nothing nothing_more_;
};

/// Exits unless a litmus test has found exactly its allowed outcomes.
void expect_outcomes(const scenario& what) {
  const auto found = take_outcomes();
  if (found == what.outcomes) return;
  std::printf("%s: allowed outcomes: %s\n  found: %s\n", std::string{what.name}.c_str(),
              std::string{what.outcomes}.c_str(), found.c_str());
  std::exit(1);
}

void explore(const scenario& what, const options& asked) {
  const auto weak = asked.weak.value_or(what.weak);
  replaying failures{what, asked};
  set_failure_sink(failures);
  scheduler::one().set_weak(weak);
  const auto how = asked.full ? depth_first::reduction::none : depth_first::reduction::by_dependence;
  const auto most = asked.bound.value_or(what.bound);
  for (unsigned bound = 0; bound <= most; ++bound) {
    const auto begin = std::chrono::steady_clock::now();
    const auto before = failures.schedules();
    depth_first search{bound, how};
    do {
      scheduler::one().execute(search, what.body);
      failures.count();
    } while (search.advance());
    const bool all = !search.was_cut();
    if (bound == most || all) {
      std::printf("%-44s bound %u exhausted%s, weak %u, %lu schedules, %.2f s\n", std::string{what.name}.c_str(), bound,
                  all ? " (and any higher)" : "", weak, failures.schedules() - before, seconds_since(begin));
      std::fflush(stdout);
    }
    if (all) break;
  }
  expect_outcomes(what);
}

void run_at_random(const scenario& what, const options& asked) {
  const auto weak = asked.weak.value_or(what.weak);
  replaying failures{what, asked};
  set_failure_sink(failures);
  scheduler::one().set_weak(weak);
  const auto begin = std::chrono::steady_clock::now();
  random_priorities some{*asked.seed, asked.depth};
  for (unsigned i = 0; i < asked.runs; ++i) {
    scheduler::one().execute(some, what.body);
    failures.count();
  }
  std::printf("%-44s %lu random schedules, %.2f s\n", std::string{what.name}.c_str(), failures.schedules(),
              seconds_since(begin));
  std::fflush(stdout);
}

int show(const scenario& what, const options& asked) {
  auto which = schedule::parse(*asked.replay);
  if (!which) {
    std::fprintf(stderr, "model: not a schedule: %s\n", asked.replay->c_str());
    return 2;
  }
  static showing failures;
  set_failure_sink(failures);
  scheduler::one().set_trace(&failures.where());
  scheduler::one().set_weak(asked.weak.value_or(what.weak));
  replay again{std::move(*which)};
  scheduler::one().execute(again, what.body);
  failures.print();
  std::printf("Nothing is wrong with this schedule.\n");
  return 0;
}

void list() {
  for (const auto& each : all_scenarios())
    std::printf("%-44s bound %u, weak %u: %s\n", std::string{each.name}.c_str(), each.bound, each.weak,
                std::string{each.oracle}.c_str());
}

/// @return the named scenarios that exist; all if none is named.
std::vector<const scenario*> asked_for(const options& asked) {
  std::vector<const scenario*> found;
  for (const auto& each : all_scenarios())
    if (asked.scenarios.empty() || std::ranges::find(asked.scenarios, each.name) != asked.scenarios.end())
      found.push_back(&each);
  return found;
}

int run(const options& asked) {
  if (asked.help || !asked.wrong.empty()) {
    if (!asked.help) std::fprintf(stderr, "model: wrong argument: %s\n", asked.wrong.c_str());
    std::fputs(usage, asked.help ? stdout : stderr);
    return asked.help ? 0 : 2;
  }
  if (asked.list) {
    list();
    return 0;
  }
  const auto scenarios = asked_for(asked);
  if (!asked.scenarios.empty() && scenarios.size() != asked.scenarios.size()) {
    std::fprintf(stderr, "model: no such scenario; --list names them\n");
    return 2;
  }
  if (asked.replay) return show(*scenarios.front(), asked);
  for (const auto* each : scenarios) asked.seed ? run_at_random(*each, asked) : explore(*each, asked);
  return 0;
}

}  // namespace
}  // namespace doorbell::model

int main(int count, char** words) {
  // The process has one thread: without this, the standard library would count references without atomics.
  __libc_single_threaded = 0;
  doorbell::model::catch_crashes();
  return doorbell::model::run(doorbell::model::parse_options(count, words));
}
