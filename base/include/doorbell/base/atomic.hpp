// SPDX-License-Identifier: Apache-2.0
//
// The seam: every atomic, lock, condition variable and sleep of doorbell's concurrent code comes through this header and
// mutex.hpp, so that a build can put a model checker's types in their place without touching the code that uses them.
//
// Rules that hold everywhere above this line: no standalone fences (ThreadSanitizer does not see them), no volatile,
// and each release names its acquire in a comment.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#ifdef DOORBELL_MODEL
#include <doorbell_model/atomic.hpp>
#else

#include <atomic>

namespace doorbell::base {

using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

template <class T>
using atomic = std::atomic<T>;
template <class T>
using atomic_ref = std::atomic_ref<T>;

}  // namespace doorbell::base

#endif
