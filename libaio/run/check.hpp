// SPDX-License-Identifier: Apache-2.0
//
// doorbell-run --check: how a program will be reached, or why not, without running it.
#pragma once

#include <string>

namespace doorbell::run {

struct finding {
  std::string text;  ///< lines for people
  int status = 0;    ///< the exit status of doorbell-run
};

/// @param library the libaio.so.1 that will be preloaded.
/// @param with_syscall whether doorbell's syscall(2) will be preloaded, too.
/// @throws failure if there is no such program
[[nodiscard]] finding check(const std::string& name, const std::string& library, bool with_syscall);

}  // namespace doorbell::run
