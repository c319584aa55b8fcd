// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

namespace doorbell::run {

/// The options of the command line.
struct options {
  bool help = false;
  bool version = false;
  bool check = false;                     ///< analyze the program, do not run it
  bool with_syscall = true;               ///< reach calls by syscall(2) as well
  std::optional<std::string> engine;      ///< the value for DOORBELL_ENGINE; nullopt: leave it unchanged
  std::optional<std::string> stats;       ///< text or json; nullopt: leave DOORBELL_STATS unchanged
  std::optional<std::string> stats_file;  ///< the file for the statistics; nullopt: leave DOORBELL_STATS_FILE unchanged
  char** command = nullptr;               ///< the program and its arguments, then null
};

/// The options end at the first argument that is not an option; it names the program.
/// @throws failure for an unknown option or value, and if no program is named
options parse(int argc, char** argv);

extern const char* const usage;

}  // namespace doorbell::run
