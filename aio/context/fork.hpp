// SPDX-License-Identifier: Apache-2.0
//
// fork(2): a child has none of its parent's contexts, and may create its own. The same holds for a child that was
// created by the system call itself (clone(2), fork(2) by syscall(2)), for which no handlers of pthread_atfork(3) run:
// its first doorbell call detects that the process has another generation (base/process_generation.hpp) than the one to
// which the inherited contexts belong. Children that share the parent's memory (vfork(2), CLONE_VM) share its contexts,
// as threads do.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/process_generation.hpp>

namespace doorbell::aio {

/// Ensures that a child starts with an empty table, no reaper, and no lock held. The function does nothing when it is
/// called: a reference to it links fork.cpp, whose constructor registers the handlers of fork(2) before main.
void expect_forks() noexcept;

/// The generation of the process that the library's contexts and their state belong to.
struct noticed_process {
  static inline constinit base::atomic<std::uint64_t> generation{1};
};

/// Whether this process is a child for which no handlers ran, and which no thread has noticed yet.
[[nodiscard]] inline bool is_unnoticed_child() noexcept {
#ifdef DOORBELL_MODEL
  return false;
#else
  // Acquire pairs with the release of the thread that has noticed the child.
  return noticed_process::generation.load(base::memory_order_acquire) != base::process_generation();
#endif
}

/// In such a child: does the work of the handlers, but without the locks, which threads of the parent may have held.
/// Several threads may call this concurrently.
void become_child() noexcept;

}  // namespace doorbell::aio
