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

/// A number as one would write it; an address, or one with flags in its upper bits, in hexadecimal.
[[nodiscard]] std::string value_text(std::uint64_t value, std::size_t bytes);

class trace {
 public:
  /// A thread carries out an operation; called from where it does.
  /// @param together whether others might have gone instead.
  void step(thread_id who, const char* name, bool together);
  /// Records the result of the operation.
  void tell(const std::string& what);
  /// Where a failure was noticed; called from there.
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
