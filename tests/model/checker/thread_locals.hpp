// SPDX-License-Identifier: Apache-2.0
//
// thread_locals: the thread_local variables of this program, and the exceptions in flight, saved for a thread of the
// scenario while others run. All scenario threads run in one real thread, so a thread_local has one address. Its
// content is exchanged instead, for all thread_locals, without changes to the code that has them.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace doorbell::model {

class thread_locals {
 public:
  /// Those of a thread that begins: as the program was loaded.
  thread_locals();

  /// Makes the values kept here current, and keeps the former ones in `other`.
  void replace(thread_locals& other) noexcept;

 private:
  std::vector<std::byte> variables_;
  std::array<std::byte, 16> exceptions_{};  // __cxa_eh_globals: a pointer and a number
};

}  // namespace doorbell::model
