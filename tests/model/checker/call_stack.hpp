// SPDX-License-Identifier: Apache-2.0
//
// Where a thread is, and what that is called in the source.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace doorbell::model {

/// The return addresses of the calling functions, innermost first.
[[nodiscard]] std::vector<std::uintptr_t> call_stack();

struct source_place {
  std::string function;  ///< without its arguments and namespace
  std::string file;
  unsigned line = 0;
};

/// For each address the functions that it is in, those that were compiled into it first. Asks addr2line(1); without it
/// there is nothing.
[[nodiscard]] std::map<std::uintptr_t, std::vector<source_place>> look_up(const std::vector<std::uintptr_t>& addresses);

}  // namespace doorbell::model
