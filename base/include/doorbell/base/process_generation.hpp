// SPDX-License-Identifier: Apache-2.0
//
// process_generation: a number that differs between a parent and its child, so that a lock, a queue or a table can tell
// whether it was changed last in this process or inherited from the parent, whose other threads do not exist here.
//
// The number is in a page that the kernel clears in each child (MADV_WIPEONFORK). So it also tells a child that was
// created by the system call itself (clone(2), fork(2) by syscall(2)), for which no handlers of pthread_atfork(3) run:
// the first reader in the child finds 0 and gives the process the next number. Children that share the parent's memory
// (vfork(2), CLONE_VM) have the parent's number, as threads do. Where the kernel does not clear pages, a handler of
// pthread_atfork(3) changes the number, which then serves fork(3) only.
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

// A variable of the library rather than memory that a pointer names, so that a lock loads the number in one step. It
// has a page of its own, because the kernel clears whole pages.
#ifdef __aarch64__
inline constexpr std::size_t largest_page = 65536;
#else
inline constexpr std::size_t largest_page = 4096;
#endif

struct DOORBELL_EXPORT process_page {
  static process_page here;

  /// Of a process that has not been forked by one that has the library.
  static constexpr std::uint32_t first = 1;

  std::uint32_t generation_of_child() noexcept;
  std::uint32_t notice_child() noexcept;

  alignas(largest_page) atomic<std::uint32_t> number;  // 0: no thread has asked in this process
};

}  // namespace seam

/// Never 0, and greater than that of each ancestor (until it wraps round after 2^32 processes).
// A constant in the usual case, so that an atomic operation on a word with this number does not wait for the load. A
// branch is predicted; the number itself would have to arrive first.
[[nodiscard]] inline std::uint32_t process_generation() noexcept {
  auto& page = seam::process_page::here;
  // equivalent fault (dropped): generation_of_child() returns it, too
  if (page.number.load(memory_order_acquire) == seam::process_page::first) [[likely]]
    return seam::process_page::first;
  return page.generation_of_child();
}

}  // namespace doorbell::base

#endif
