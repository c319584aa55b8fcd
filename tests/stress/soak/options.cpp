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
    "Everything at once: eventfds, notifiers, AIO contexts on both engines, Asio loops, and forks (not under a\n"
    "sanitizer), for N minutes (default 30). What must hold is checked all the time. Every few seconds all of it\n"
    "comes to rest, and memory, threads and descriptors are counted; they end up as a table, and a verdict.\n"
    "\n"
    "flat       in the last third of the run no more was in use than in the second\n"
    "not flat   some was; status 1. So it is when something did not hold\n"
    "\n"
    "Resident memory has a say from two minutes on. Ctrl-C ends it early, with the table.\n"
    "\n"
    "--events: instead of that, threads with AIO contexts in a process that events hit at random. All descriptors "
    "that\n"
    "the program does not know are closed or replaced; children are created by fork(2) and clone(2) (not under a\n"
    "sanitizer); signals come; RLIMIT_NOFILE, RLIMIT_NPROC and RLIMIT_MEMLOCK are lowered and raised. Root becomes\n"
    "another user. Flat: in the last tenth of the run no more was in use than in the first. --engine: of all "
    "contexts;\n"
    "io_uring is the automatic choice. Without it, both in turn.\n";

std::optional<double> number(const char* text) {
  if (text == nullptr) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0)) return std::nullopt;
  return value;
}

// The contexts by io_uring are of the automatic choice: a lowered limit may leave them to threads.
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
