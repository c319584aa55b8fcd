// SPDX-License-Identifier: Apache-2.0
//
// Attributes that clang's -Wthread-safety checks. With other compilers the macros are empty.
// Source: Thread Safety Analysis, clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#ifdef __clang__
#define DOORBELL_THREAD_ATTRIBUTE(...) __attribute__((__VA_ARGS__))
#else
#define DOORBELL_THREAD_ATTRIBUTE(...)
#endif

/// LOCKABLE: a class whose objects are locks. SCOPED_LOCKABLE: a class whose objects hold a lock during their lifetime.
#define DOORBELL_LOCKABLE DOORBELL_THREAD_ATTRIBUTE(lockable)
#define DOORBELL_SCOPED_LOCKABLE DOORBELL_THREAD_ATTRIBUTE(scoped_lockable)

/// A member that is read and written only with `lock` held.
#define DOORBELL_GUARDED_BY(lock) DOORBELL_THREAD_ATTRIBUTE(guarded_by(lock))

/// A function that is called only with these locks held.
#define DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(...) DOORBELL_THREAD_ATTRIBUTE(exclusive_locks_required(__VA_ARGS__))

/// A function that acquires, tries to acquire, or releases these locks; without an argument, the lock is *this.
#define DOORBELL_EXCLUSIVE_LOCK_FUNCTION(...) DOORBELL_THREAD_ATTRIBUTE(exclusive_lock_function(__VA_ARGS__))
#define DOORBELL_EXCLUSIVE_TRYLOCK_FUNCTION(...) DOORBELL_THREAD_ATTRIBUTE(exclusive_trylock_function(__VA_ARGS__))
#define DOORBELL_UNLOCK_FUNCTION(...) DOORBELL_THREAD_ATTRIBUTE(unlock_function(__VA_ARGS__))

/// A function after whose return the analysis assumes that the lock is held.
#define DOORBELL_ASSERT_EXCLUSIVE_LOCK(...) DOORBELL_THREAD_ATTRIBUTE(assert_exclusive_lock(__VA_ARGS__))

/// A function that the analysis skips, because it cannot follow the locking; a comment at the function gives the
/// reason.
#define DOORBELL_NO_THREAD_SAFETY_ANALYSIS DOORBELL_THREAD_ATTRIBUTE(no_thread_safety_analysis)
