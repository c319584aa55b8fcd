// SPDX-License-Identifier: Apache-2.0
//
// thread_locals: what is thread_local in this program, and the exceptions in flight, kept for a thread of the scenario
// while others run. All scenario threads run in one real thread, so a thread_local has one address; its content is what
// changes, for every thread_local there is, and the code that has them need not know.
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
