// SPDX-License-Identifier: Apache-2.0
//
// spin_wait: how often a thread checks a lock that another thread holds, before it sleeps.
//
// A holder keeps an eventfd's lock for some microseconds at most (two system calls of poll_fd()); a sleep and the
// wakeup that ends it take 10 to 50. So a short spin is cheaper if the holder runs on another CPU. If the holder waits
// for the CPU of this thread, spinning only delays it. A thread cannot see which is the case, but learns it: each wait
// that ends in a sleep halves the number of looks in the calling thread's next wait. After 65 such waits in a row it
// starts again with the full number.
#pragma once

namespace doorbell::base::spin_wait {

/// @return the number of looks, at least 1.
int looks() noexcept;

/// Reports the end of the wait. @param in_time whether the lock was taken without a sleep.
void ended(bool in_time) noexcept;

/// Pauses between two looks: tells the processor to wait, and to let the other thread of the core run.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

}  // namespace doorbell::base::spin_wait
