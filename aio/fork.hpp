// SPDX-License-Identifier: Apache-2.0
//
// fork(2): a child has none of its parent's contexts, and may make its own. So has a child that was created by the system
// call itself (clone(2), fork(2) by syscall(2)), for which no handlers of pthread_atfork(3) run: its first call of ours
// finds a mark of the parent gone, which the kernel clears in children (MADV_WIPEONFORK). Children that share the
// parent's memory (vfork(2), CLONE_VM) share its contexts, as threads do.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

/// Sees to it that a child starts with an empty table, no reaper, and no lock held: from before main, in any program that
/// has a call to this one in it.
void expect_forks() noexcept;

/// Not 0: this process knows that it is one. Where the kernel clears nothing, it points to a constant.
struct process_mark {
  static inline constinit base::atomic<std::uint32_t> of_any_process{1};
  static inline constinit base::atomic<std::uint32_t>* here = &of_any_process;  // constant from before main
};

/// Whether this process is a child for which no handlers ran.
[[nodiscard]] inline bool is_unnoticed_child() noexcept {
#ifdef DOORBELL_MODEL
  return false;
#else
  return process_mark::here->load(base::memory_order_acquire) != 1;
#endif
}

/// In such a child: what the handlers do, without the locks, which threads of the parent may have held. Several threads
/// may call it concurrently.
void become_child() noexcept;

}  // namespace doorbell::aio
