// SPDX-License-Identifier: Apache-2.0
//
// publish: stores a pointer. A child of fork(2) that sees the pointer also sees all that the thread stored before.
//
// Such a child may see a list that is guarded by a lock in a half-changed state: another thread may have forked while
// the holder of the lock was changing the list, and the child has the memory as it was between two stores. A list whose
// forward pointers are published is complete in that direction at every instant. The kernel copies memory page by page,
// so the CPU must keep the order of the stores, too.
//
// No atomic of the seam: no thread reads the pointer without the lock.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <atomic>

namespace doorbell::base {

template <class T>
void publish(T*& where, T* what) noexcept {
#ifdef DOORBELL_MODEL
  where = what;  // the model's forks come between two operations of the seam
#else
  std::atomic_ref{where}.store(what, std::memory_order_release);
#endif
}

}  // namespace doorbell::base
