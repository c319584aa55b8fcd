// SPDX-License-Identifier: Apache-2.0
//
// The call stack of a thread, and its functions and lines in the source.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace doorbell::model {

/// The return addresses of the calling functions, innermost first.
[[nodiscard]] std::vector<std::uintptr_t> call_stack();

struct source_place {
  std::string function;  ///< without arguments and namespaces
  std::string file;
  unsigned line = 0;
};

/// The functions of each address, inlined ones first. Calls addr2line(1); empty without it.
[[nodiscard]] std::map<std::uintptr_t, std::vector<source_place>> look_up(const std::vector<std::uintptr_t>& addresses);

}  // namespace doorbell::model
