// SPDX-License-Identifier: Apache-2.0
//
// this_cpu, possible_cpus: for data that is split by CPU, so that threads that run concurrently do not share it.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#ifdef DOORBELL_MODEL
#include <doorbell_model/this_cpu.hpp>
#else
#include <sched.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif
#endif

namespace doorbell::base {

#ifndef DOORBELL_MODEL

/// The CPU that the calling thread ran on a moment ago: only a hint, because the thread may have moved.
// The kernel keeps the number in the thread's own memory for restartable sequences. sched_getcpu() reads it there, too,
// but takes three times as long. A negative number means that an old C library or a tunable has left the thread
// unregistered.
inline unsigned this_cpu() noexcept {
#if __has_include(<sys/rseq.h>)
  const void* const found = static_cast<const char*>(__builtin_thread_pointer()) + __rseq_offset;
  const auto* const area = static_cast<const struct rseq*>(found);
  const auto cpu = static_cast<int>(__atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED));
  // equivalent fault (comparison, dropped, negated): sched_getcpu(3) tells it, too
  if (cpu >= 0) [[likely]]
    return static_cast<unsigned>(cpu);
#endif
  return static_cast<unsigned>(::sched_getcpu());
}
#endif

/// The number of CPUs that the machine may have, plugged in or not; at least 1.
unsigned possible_cpus() noexcept;

}  // namespace doorbell::base
