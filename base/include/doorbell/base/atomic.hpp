// SPDX-License-Identifier: Apache-2.0
//
// The seam: doorbell's concurrent code takes every atomic from this header, every lock and condition variable from
// mutex.hpp, and every other sleep from futex.hpp. A build can therefore substitute a model checker for them without
// changing that code.
//
// Rules for all code that includes this header: no standalone fences (ThreadSanitizer does not see them), no volatile,
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
