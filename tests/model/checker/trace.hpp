// SPDX-License-Identifier: Apache-2.0
//
// trace: a readable record of one execution, with a column for each thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "call_stack.hpp"
#include "vector_clock.hpp"

namespace doorbell::model {

/// A readable number: small ones in decimal, large ones such as addresses in hexadecimal, with flags in the upper bits
/// shown separately.
[[nodiscard]] std::string value_text(std::uint64_t value, std::size_t bytes);

class trace {
 public:
  /// Records an operation of a thread. Called in that thread, at the operation.
  /// @param together whether other threads could have run instead; if not, nothing is recorded.
  void step(thread_id who, const char* name, bool together);
  /// Records the result of the operation.
  void tell(const std::string& what);
  /// Records a failure. Called where it was detected.
  void end(thread_id who, const std::string& what);

  void print(std::FILE* to, const std::vector<std::string>& names) const;

 private:
  struct line {
    thread_id who;
    std::string name;
    std::string what;
    std::vector<std::uintptr_t> calls;  // return addresses, innermost first
  };

  [[nodiscard]] static std::string text_of(const line& what, const std::vector<source_place>& inward);

  std::vector<line> lines_;
  bool ended_ = false;
};

}  // namespace doorbell::model
