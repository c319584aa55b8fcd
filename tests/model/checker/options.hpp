// SPDX-License-Identifier: Apache-2.0
//
// The command line of the model checker.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace doorbell::model {

struct options {
  bool help = false;
  bool list = false;
  bool full = false;                  ///< without partial-order reduction
  std::optional<unsigned> bound;      ///< of preemptions
  std::optional<unsigned> weak;       ///< how many operations may use an older store
  std::optional<std::string> replay;  ///< a schedule
  std::optional<std::uint64_t> seed;  ///< random priorities instead of all schedules
  unsigned depth = 3;                 ///< of the bugs that random priorities look for
  unsigned runs = 10000;              ///< with random priorities
  std::vector<std::string> scenarios;
  std::string wrong;  ///< the argument that was not understood
};

[[nodiscard]] options parse_options(int count, char** words);
extern const char* const usage;

}  // namespace doorbell::model
