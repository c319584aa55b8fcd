// SPDX-License-Identifier: Apache-2.0
//
// thread_locals: the thread_local variables of this program, and the exceptions in flight, saved for a thread of the
// scenario while others run. All scenario threads run in one real thread, so each thread_local has one address. A
// switch of threads exchanges the content of the whole block, so the code under test needs no changes.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace doorbell::model {

class thread_locals {
 public:
  /// The values of a new thread: as the program was loaded.
  thread_locals();

  /// Makes the values saved here current, and saves the previous ones in `other`.
  void replace(thread_locals& other) noexcept;

 private:
  std::vector<std::byte> variables_;
  std::array<std::byte, 16> exceptions_{};  // __cxa_eh_globals: a pointer and a number
};

}  // namespace doorbell::model
