// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <ratio>
#include <string_view>

namespace doorbell::soak {
namespace {

constexpr const char* usage =
    "usage: soak [--minutes N | --seconds N] [--seed S] [--events [--engine io_uring|threads]]\n"
    "Runs eventfds, notifiers, AIO contexts on both engines, Asio loops, and forks (not under a sanitizer)\n"
    "concurrently, for N minutes (default 30), and checks invariants all the time. Every few seconds all loads\n"
    "rest, and the soak counts memory, threads and descriptors. At the end it prints a table and a verdict.\n"
    "\n"
    "flat       the last third of the run used no more than the second\n"
    "not flat   it used more; status 1, as after a violated invariant\n"
    "\n"
    "Resident memory, mappings and helpers (the library's own threads, and the kernel's for io_uring) count in runs\n"
    "of at least two minutes. Ctrl-C ends the run early, with the table (not with --events).\n"
    "\n"
    "--events: instead, runs threads with AIO contexts in a process that random events disturb: all descriptors\n"
    "that the program does not know are closed or replaced; children are created by fork(2) and clone(2) (not\n"
    "under a sanitizer); signals are sent; RLIMIT_NOFILE, RLIMIT_NPROC and RLIMIT_MEMLOCK are lowered and raised.\n"
    "Root becomes another user. Flat: the last tenth of the run used no more than the first.\n"
    "--engine: the engine of all these contexts. With io_uring, the library may choose threads while a limit is\n"
    "lowered. Default: both, at random.\n";

std::optional<double> number(const char* text) {
  if (text == nullptr) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0)) return std::nullopt;
  return value;
}

// io_uring selects the automatic choice: under a lowered limit, such contexts may use threads.
std::optional<aio::engine_kind> engine_named(std::string_view name) {
  if (name == "io_uring") return aio::engine_kind::automatic;
  if (name == "threads") return aio::engine_kind::threads;
  return std::nullopt;
}

}  // namespace

options parse_options(int argc, char** argv) {
  options made;
  for (int at = 1; at < argc; ++at) {
    const std::string_view option = argv[at];
    if (option == "--help") {
      std::fputs(usage, stdout);
      std::exit(0);
    }
    if (option == "--events") {
      made.events = true;
      continue;
    }
    if (option == "--engine") {
      made.engine = engine_named(at + 1 < argc ? argv[++at] : "");
      if (made.engine) continue;
    }
    const auto value = number(at + 1 < argc ? argv[++at] : nullptr);
    if (value && option == "--minutes") {
      made.length = std::chrono::duration<double, std::ratio<60>>{*value};
    } else if (value && option == "--seconds") {
      made.length = std::chrono::duration<double>{*value};
    } else if (value && option == "--seed") {
      made.seed = static_cast<std::uint64_t>(*value);
    } else {
      std::fputs(usage, stderr);
      std::exit(2);
    }
  }
  return made;
}

}  // namespace doorbell::soak
