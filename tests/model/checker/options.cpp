// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <charconv>
#include <span>
#include <string_view>

namespace doorbell::model {
namespace {

template <class Number>
bool read_number(std::string_view text, Number& value) noexcept {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size();
}

/// An option with a value. @return whether the value was understood.
bool set(options& asked, std::string_view name, std::string_view value) {
  if (name == "--bound") return read_number(value, asked.bound.emplace());
  if (name == "--weak") return read_number(value, asked.weak.emplace());
  if (name == "--seed") return read_number(value, asked.seed.emplace());
  if (name == "--pct") return read_number(value, asked.depth) && asked.depth > 0;
  if (name == "--runs") return read_number(value, asked.runs);
  if (name == "--replay") {
    asked.replay = value;
    return true;
  }
  return false;
}

}  // namespace

const char* const usage =
    "usage: model [--list] [--bound N] [--weak N] [--full] [--seed N [--pct D] [--runs N]] [--replay SCHEDULE] "
    "[SCENARIO...]\n"
    "Explores the schedules of scenarios (all of them, if none is named) on doorbell's real code, and prints their\n"
    "number. Ends at the first schedule that fails, and prints it and the command to replay it.\n"
    "\n"
    "  --list             prints each scenario, its bound and its oracle\n"
    "  --bound N          explores all schedules with at most N preemptions, fewest first (default: the scenario's\n"
    "                     bound)\n"
    "  --weak N           at most N atomic operations use an older value than the latest, if their order permits it\n"
    "                     (default: the scenario's number, which is 0 for most)\n"
    "  --full             also explores schedules that differ only in the order of independent operations\n"
    "  --seed N           runs with random priorities (PCT) instead; the same N gives the same priorities\n"
    "  --pct D            with --seed: looks for bugs that need D orderings (default: 3)\n"
    "  --runs N           with --seed: runs each scenario N times (default: 10000)\n"
    "  --replay SCHEDULE  runs one scenario once, and prints the steps of its threads\n"
    "\n"
    "A preemption is a switch away from a thread that could have gone on. With --weak 0 values are sequentially\n"
    "consistent, and memory orders count for data races only.\n";

options parse_options(int count, char** words) {
  options asked;
  const std::span all{words, static_cast<std::size_t>(count)};
  for (std::size_t i = 1; i < all.size(); ++i) {
    const std::string_view word{all[i]};
    if (word == "--help" || word == "-h") {
      asked.help = true;
    } else if (word == "--list") {
      asked.list = true;
    } else if (word == "--full") {
      asked.full = true;
    } else if (!word.starts_with("-")) {
      asked.scenarios.emplace_back(word);
    } else if (i + 1 >= all.size() || !set(asked, word, all[i + 1])) {
      asked.wrong = word;
      return asked;
    } else {
      ++i;
    }
  }
  if (asked.replay && asked.scenarios.size() != 1) asked.wrong = "--replay, which needs one scenario";
  return asked;
}

}  // namespace doorbell::model
