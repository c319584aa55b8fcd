// SPDX-License-Identifier: Apache-2.0
//
// Random programs, run on the kernel and on doorbell: options, workers, and the reduction of a program that shows a
// difference. A program is a list of operations. Program n of a run with seed s is the program of seed s + n.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string_view>
#include <vector>

namespace doorbell::test {

struct random_options {
  std::uint64_t programs = 2000;
  std::uint64_t seed = 1;
  std::uint64_t workers = 2;
  bool verbose = false;
};

[[noreturn]] inline void explain_options(const char* program, int status) {
  std::cout
      << "usage: " << program << " [--programs N] [--seed S] [--workers W] [--verbose]\n"
      << "Runs N random programs, of the seeds S to S+N-1, on the kernel and on doorbell, in W processes, and\n"
      << "compares all results. At a difference it prints the seed and the shortest program that still shows the\n"
      << "difference, and ends with status 1. --verbose prints every operation and its result.\n"
      << "DOORBELL_ENGINE chooses doorbell's engine.\n";
  std::exit(status);
}

[[nodiscard]] inline random_options parse_options(int argc, char** argv) {
  random_options made;
  const auto number = [&](int& at) {
    std::uint64_t value = 0;
    const std::string_view text = at + 1 < argc ? argv[++at] : "";
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size())
      explain_options(argv[0], 2);
    return value;
  };
  for (int at = 1; at < argc; ++at) {
    const std::string_view option = argv[at];
    if (option == "--programs")
      made.programs = number(at);
    else if (option == "--seed")
      made.seed = number(at);
    else if (option == "--workers")
      made.workers = std::max<std::uint64_t>(1, number(at));
    else if (option == "--verbose")
      made.verbose = true;
    else
      explain_options(argv[0], option == "--help" ? 0 : 2);
  }
  // Shows the output before a hang.
  if (made.verbose) std::cout << std::unitbuf;
  return made;
}

/// Random numbers: the same on every machine for the same seed.
class random_numbers {
 public:
  explicit random_numbers(std::uint64_t seed) : engine_{seed} {}

  [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  [[nodiscard]] bool one_in(std::uint64_t times) { return below(times) == 0; }
  template <class Choices>
  [[nodiscard]] auto one_of(const Choices& choices) {
    return *(std::begin(choices) + static_cast<std::ptrdiff_t>(below(std::size(choices))));
  }

 private:
  std::mt19937_64 engine_;
};

/// Reduces `failing` to a short program that still `fails`: removes operations, many at a time and then one by one, and
/// replaces the remaining ones by the results of `simpler`, until nothing more can be reduced.
template <class Operation, class Fails, class Simpler>
[[nodiscard]] std::vector<Operation> shortest(std::vector<Operation> failing, Fails fails, Simpler simpler) {
  const auto improve = [&](std::vector<Operation> candidate) {
    if (!fails(candidate)) return false;
    failing = std::move(candidate);
    return true;
  };
  for (bool better = true; better;) {
    better = false;
    for (std::size_t chunk = std::max<std::size_t>(1, failing.size() / 2); chunk > 0; chunk /= 2) {
      for (std::size_t at = 0; at < failing.size();) {
        auto without = failing;
        const auto first = without.begin() + static_cast<std::ptrdiff_t>(at);
        without.erase(first, first + static_cast<std::ptrdiff_t>(std::min(chunk, without.size() - at)));
        if (improve(std::move(without)))
          better = true;
        else
          at += chunk;
      }
    }
    for (std::size_t at = 0; at < failing.size(); ++at) {
      for (const auto& simple : simpler(failing[at])) {
        auto with = failing;
        with[at] = simple;
        if (improve(std::move(with))) {
          better = true;
          break;
        }
      }
    }
  }
  return failing;
}

/// Reports the seed of a program that hangs.
class hang_watch {
 public:
  static constexpr unsigned patience_in_seconds = 60;

  hang_watch() { ::signal(SIGALRM, &report); }
  static void begin(std::uint64_t seed) {
    char* const end = std::to_chars(text.data(), text.data() + text.size() - 1, seed).ptr;
    *end = '\0';
    ::alarm(patience_in_seconds);
  }
  static void end() { ::alarm(0); }

 private:
  static void say(const char* what) { [[maybe_unused]] const auto written = ::write(2, what, std::strlen(what)); }
  static void report(int) {
    say("the program of this seed hangs: ");
    say(text.data());
    say("\n");
    ::_exit(1);
  }
  static inline std::array<char, 24> text{};
};

/// Runs the programs in the workers. `make()` returns a callable for each worker, which takes a seed and returns
/// whether kernel and doorbell agreed. @return the process's exit status.
template <class Make>
[[nodiscard]] int run_in_workers(const random_options& options, Make make) {
  const auto work = [&](std::uint64_t worker) {
    const hang_watch watch;
    auto agree = make();
    for (auto number = worker; number < options.programs; number += options.workers) {
      hang_watch::begin(options.seed + number);
      if (!agree(options.seed + number)) return 1;
      hang_watch::end();
    }
    return 0;
  };
  std::cout << std::flush;
  for (std::uint64_t worker = 0; worker < options.workers; ++worker) {
    const pid_t child = ::fork();
    if (child < 0) return 2;
    if (child == 0) {
      const int status = work(worker);
      std::cout << std::flush;
      ::_exit(status);
    }
  }
  int failed = 0;
  int status = 0;
  while (::wait(&status) > 0) failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  if (failed == 0) std::cout << options.programs << " programs, no difference\n";
  return failed;
}

}  // namespace doorbell::test
