// SPDX-License-Identifier: Apache-2.0
//
// publish: stores a pointer after all that the thread has stored before, as seen by a child of fork(2).
//
// Only such a child sees a list half changed that a lock guards: another thread may have forked while the holder was
// changing it, and the child has the memory as it was between two stores. A list whose forward pointers
// are published is whole in that direction at every instant. The kernel copies memory page by page, so the order of the
// stores must hold for the CPU, too.
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
