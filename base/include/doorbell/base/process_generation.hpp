// SPDX-License-Identifier: Apache-2.0
//
// process_generation: a number that differs between a parent and its child. A lock, a queue or a table can thus tell
// whether it was changed last in this process, or inherited from the parent, whose other threads do not exist here.
//
// The number is in a page that the kernel clears in each child (MADV_WIPEONFORK). So a child is also recognized if it
// was created by the system call itself (clone(2), fork(2) by syscall(2)), for which no handlers of pthread_atfork(3)
// run: the first reader in the child finds 0 and gives the process the next number. Children that share the parent's
// memory (vfork(2), CLONE_VM) have the parent's number, as threads do. Where pages are not cleared, as in qemu-user,
// handlers of pthread_atfork(3) change the number; then only children of the C library's fork() are recognized.
//
// Thread safety: may be called concurrently, also in signal handlers. Two copies of the library in one process count
// separately.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#ifdef DOORBELL_MODEL
#include <doorbell_model/process_generation.hpp>
#else

#include <cstddef>
#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/export.hpp>

namespace doorbell::base {
namespace seam {

// The page is a variable of the library and not allocated memory, so that a lock loads the number in one step, without
// a pointer. It fills whole pages, because the kernel clears whole pages.
#ifdef __aarch64__
inline constexpr std::size_t largest_page = 65536;
#else
inline constexpr std::size_t largest_page = 4096;
#endif

struct DOORBELL_EXPORT process_page {
  static process_page here;

  /// The number of a process whose ancestors did not have the library when they forked.
  static constexpr std::uint32_t first = 1;

  std::uint32_t generation_of_child() noexcept;
  std::uint32_t notice_child() noexcept;

  alignas(largest_page) atomic<std::uint32_t> number;  // 0: not yet read in this process
};

}  // namespace seam

/// Never 0, and greater than the number of each ancestor (until it wraps around after 2^32 processes).
// Returns a constant in the usual case: an atomic operation on a word with this number then depends on a predicted
// branch and does not wait for the load.
[[nodiscard]] inline std::uint32_t process_generation() noexcept {
  auto& page = seam::process_page::here;
  // equivalent fault (dropped): generation_of_child() returns it, too
  if (page.number.load(memory_order_acquire) == seam::process_page::first) [[likely]]
    return seam::process_page::first;
  return page.generation_of_child();
}

}  // namespace doorbell::base

#endif
