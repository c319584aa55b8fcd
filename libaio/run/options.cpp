// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <getopt.h>

#include <array>
#include <filesystem>
#include <string_view>

#include "../../aio/engine/engine_names.hpp"
#include "failure.hpp"

namespace doorbell::run {
namespace {

enum : int {
  engine_option = 'e',
  stats_option = 's',
  stats_file_option = 'f',
  no_syscall_option = 'n',
  check_option = 'c',
  help_option = 'h',
  version_option = 'v',
  no_more_options = -1
};

std::string engine_named(std::string_view name) {
  if (!aio::engine_named(name))
    throw failure{failure::of_doorbell_run,
                  "there is no engine '" + std::string{name} + "', only io_uring (or uring) and threads"};
  return std::string{name};
}

std::string form_named(const char* name) {
  const std::string form = name != nullptr ? name : "text";
  if (form != "text" && form != "json")
    throw failure{failure::of_doorbell_run, "there are no statistics as '" + form + "', only as text and json"};
  return form;
}

// The program may change its working directory before it ends.
std::string absolute(const char* path) {
  if (*path == '\0') throw failure{failure::of_doorbell_run, "--stats-file needs the path of a file"};
  return std::filesystem::absolute(path).string();
}

}  // namespace

const char* const usage =
    "usage: doorbell-run [--engine=uring|threads] [--stats[=text|json]] [--stats-file=FILE] [--no-syscall] [--]\n"
    "                    PROGRAM [ARGUMENTS...]\n"
    "       doorbell-run --check [--no-syscall] [--] PROGRAM\n"
    "\n"
    "Runs PROGRAM with doorbell in the place of libaio and of the calls of the kernel's AIO by syscall(2).\n"
    "\n"
    "  --engine=NAME  the engine that executes the requests: uring or threads. Default: DOORBELL_ENGINE, or\n"
    "                 else io_uring if the system allows it, and threads if not\n"
    "  --stats[=FORM] when the program ends, reports its requests and their results on standard error,\n"
    "                 for people (text) or for programs (json, one line for each process)\n"
    "  --stats-file=FILE  appends this report to FILE\n"
    "  --no-syscall   leaves calls by syscall(2) to the kernel\n"
    "  --check        reports how PROGRAM will be reached, or why not, without running it\n"
    "  --help         prints this\n"
    "  --version      prints the version\n"
    "\n"
    "The exit status is PROGRAM's. 125: doorbell-run itself failed. 126: PROGRAM exists but cannot be run,\n"
    "or no libaio can be preloaded into it. 127: there is no PROGRAM. Of --check, 0: PROGRAM is reached, or may be;\n"
    "1: doorbell reaches no AIO call of PROGRAM and its libraries; 125 to 127 as above.\n";

options parse(int argc, char** argv) {
  static constexpr std::array<option, 8> known{option{"engine", required_argument, nullptr, engine_option},
                                               option{"stats", optional_argument, nullptr, stats_option},
                                               option{"stats-file", required_argument, nullptr, stats_file_option},
                                               option{"no-syscall", no_argument, nullptr, no_syscall_option},
                                               option{"check", no_argument, nullptr, check_option},
                                               option{"help", no_argument, nullptr, help_option},
                                               option{"version", no_argument, nullptr, version_option},
                                               option{}};
  options asked;
  for (;;) {
    const int which = ::getopt_long(argc, argv, "+", known.data(), nullptr);
    if (which == no_more_options) break;
    if (which == engine_option)
      asked.engine = engine_named(::optarg);
    else if (which == stats_option)
      asked.stats = form_named(::optarg);
    else if (which == stats_file_option)
      asked.stats_file = absolute(::optarg);
    else if (which == no_syscall_option)
      asked.with_syscall = false;
    else if (which == check_option)
      asked.check = true;
    else if (which == help_option)
      asked.help = true;
    else if (which == version_option)
      asked.version = true;
    else  // getopt_long() has reported the option
      throw failure{failure::of_doorbell_run, "see doorbell-run --help"};
  }
  if (asked.stats_file && !asked.stats) asked.stats = "text";
  asked.command = argv + ::optind;
  if (*asked.command == nullptr && !asked.help && !asked.version)
    throw failure{failure::of_doorbell_run, "no program is named; see doorbell-run --help"};
  return asked;
}

}  // namespace doorbell::run
