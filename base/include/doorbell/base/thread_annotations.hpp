// SPDX-License-Identifier: Apache-2.0
//
// Attributes that clang's -Wthread-safety checks; nothing for other compilers.
// Source: Thread Safety Analysis, clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#ifdef __clang__
#define DOORBELL_THREAD_ATTRIBUTE(...) __attribute__((__VA_ARGS__))
#else
#define DOORBELL_THREAD_ATTRIBUTE(...)
#endif

/// A class whose objects are locks; respectively one whose objects hold a lock for a scope.
#define DOORBELL_LOCKABLE DOORBELL_THREAD_ATTRIBUTE(lockable)
#define DOORBELL_SCOPED_LOCKABLE DOORBELL_THREAD_ATTRIBUTE(scoped_lockable)

/// A member that is read and written with that lock held.
#define DOORBELL_GUARDED_BY(lock) DOORBELL_THREAD_ATTRIBUTE(guarded_by(lock))

/// A function that is called with these locks held.
#define DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(...) DOORBELL_THREAD_ATTRIBUTE(exclusive_locks_required(__VA_ARGS__))

/// A function that takes or releases these locks; without an argument, *this.
#define DOORBELL_EXCLUSIVE_LOCK_FUNCTION(...) DOORBELL_THREAD_ATTRIBUTE(exclusive_lock_function(__VA_ARGS__))
#define DOORBELL_EXCLUSIVE_TRYLOCK_FUNCTION(...) DOORBELL_THREAD_ATTRIBUTE(exclusive_trylock_function(__VA_ARGS__))
#define DOORBELL_UNLOCK_FUNCTION(...) DOORBELL_THREAD_ATTRIBUTE(unlock_function(__VA_ARGS__))

/// A function after which the analysis takes the lock as held.
#define DOORBELL_ASSERT_EXCLUSIVE_LOCK(...) DOORBELL_THREAD_ATTRIBUTE(assert_exclusive_lock(__VA_ARGS__))

/// A function that the analysis cannot follow; a comment beside it says why.
#define DOORBELL_NO_THREAD_SAFETY_ANALYSIS DOORBELL_THREAD_ATTRIBUTE(no_thread_safety_analysis)
