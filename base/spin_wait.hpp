// SPDX-License-Identifier: Apache-2.0
//
// spin_wait: how often a thread looks at a lock that another one holds before it sleeps.
//
// A holder keeps the queue's lock for some microseconds at most (two system calls of poll_fd()); a sleep and the wake
// that ends it take 10 to 50. So a short wait is cheaper, if the holder runs on another CPU. If it waits for the CPU of
// this thread, looking only delays it. A thread cannot see which is the case, but learns it: each wait that ends in a
// sleep halves the number of looks of the calling thread's next one. After some such waits it tries with all of them
// again.
#pragma once

namespace doorbell::base::spin_wait {

/// @return how often to look, at least 1.
int looks() noexcept;

/// Tells how the wait ended. @param in_time whether the lock was got without a sleep.
void ended(bool in_time) noexcept;

/// Between two looks. Tells the processor to wait, and to let a sibling on the same core run.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

}  // namespace doorbell::base::spin_wait
