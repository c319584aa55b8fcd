// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

namespace doorbell::run {

/// What the command line asks for.
struct options {
  bool help = false;
  bool version = false;
  bool check = false;                     ///< the program is not run, but looked at
  bool with_syscall = true;               ///< calls by syscall(2) are reached as well
  std::optional<std::string> engine;      ///< as DOORBELL_ENGINE is to name it; none: left as it is
  std::optional<std::string> stats;       ///< text or json; none: left as it is
  std::optional<std::string> stats_file;  ///< where they go to; none: left as it is
  char** command = nullptr;               ///< the program and its arguments, then null
};

/// Its own options end at the first word that is none, which is the program.
/// @throws failure for what it does not understand, and where there is no program
options parse(int argc, char** argv);

extern const char* const usage;

}  // namespace doorbell::run
