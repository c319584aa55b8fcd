// SPDX-License-Identifier: Apache-2.0
//
// Replaces the non-throwing operator new by one that fails when a test asks for it. Only one source file of a program
// may include this header, because it defines the operator. The program has no other tests, because they would allocate
// by this operator, too.
#pragma once

#include <cstddef>
#include <new>

namespace doorbell::test::failing_new {

/// The number of allocations of the calling thread that succeed before one fails; negative: all succeed.
inline thread_local constinit int left = -1;
/// Whether all later allocations fail, too, until `left` is set again. Otherwise they succeed.
inline thread_local constinit bool is_lasting = true;
/// Whether an allocation has failed since the test reset this flag.
inline thread_local constinit bool has_failed = false;

}  // namespace doorbell::test::failing_new

// One file of a program includes this.
// NOLINTNEXTLINE(misc-definitions-in-headers)
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  namespace state = doorbell::test::failing_new;
  if (state::left == 0) {
    state::has_failed = true;
    if (!state::is_lasting) state::left = -1;
    return nullptr;
  }
  if (state::left > 0) --state::left;
  try {
    return ::operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
