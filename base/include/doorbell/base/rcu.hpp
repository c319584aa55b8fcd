// SPDX-License-Identifier: Apache-2.0
//
// RCU: readers neither wait nor write shared memory. A thread that removes an object waits until no reader can still
// see it, and then frees it. A thin layer over liburcu-bp, which needs no registration of threads and may be used in
// signal handlers.
//
//   reader                               updater
//   rcu_read_guard reading;
//   T* seen = pointer.load(reading);     T* old = pointer.exchange(nullptr);
//   uses *seen                           rcu_synchronize();
//   ~rcu_read_guard                      delete old;
//
//   legal:     the load comes before the exchange: the reader sees the object, and synchronize waits for its section to
//              end. Or after it: the reader sees null.
//   forbidden: the reader uses the object after the delete. Its section would have begun before synchronize did, and
//              ended after synchronize had returned.
//
// A section protects memory, not use: to keep an object beyond the section's end, take a reference inside it with a try
// that may fail (percpu_ref::tryget_live, kref::get_unless_zero).
//
// Thread safety: all functions and members may be called concurrently. Sections nest. rcu_synchronize() waits for them,
// so a section must not sleep. A section must not fork: liburcu's handlers would wait for a grace period, which waits
// for the section. rcu.cpp makes an exception for a signal handler that forks.
// Memory ordering: all operations in a section happen before the return of a synchronize that waited for it. All that
// precedes synchronize happens before the operations of a section that begins after it. liburcu is not compiled with
// ThreadSanitizer, so this header and rcu.cpp annotate these two edges.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <doorbell/base/atomic.hpp>

#if defined(__SANITIZE_THREAD__)
#define DOORBELL_RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DOORBELL_RCU_TSAN 1
#endif
#endif
#ifdef DOORBELL_RCU_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// Declared as in <urcu/urcu-bp.h>, so that this header does not include it. rcu.cpp includes both.
// NOLINTBEGIN(readability-redundant-declaration): only rcu.cpp sees both declarations of a function
extern "C" {
void urcu_bp_read_lock();
void urcu_bp_read_unlock();
}
// NOLINTEND(readability-redundant-declaration)

namespace doorbell::base {
namespace seam {

// Two addresses: a single one would also order each reader after all earlier readers, and so hide races between
// readers.
inline constinit char rcu_sections_ended = 0;
inline constinit char rcu_synchronize_begun = 0;

inline void rcu_tell_release([[maybe_unused]] char& edge) noexcept {
#ifdef DOORBELL_RCU_TSAN
  __tsan_release(&edge);
#endif
}

inline void rcu_tell_acquire([[maybe_unused]] char& edge) noexcept {
#ifdef DOORBELL_RCU_TSAN
  __tsan_acquire(&edge);
#endif
}

inline void rcu_read_lock() noexcept {
  urcu_bp_read_lock();
  rcu_tell_acquire(rcu_synchronize_begun);  // pairs with the release at the start of rcu_synchronize()
}

inline void rcu_read_unlock() noexcept {
  rcu_tell_release(rcu_sections_ended);  // pairs with the acquire at the end of rcu_synchronize()
  urcu_bp_read_unlock();
}

}  // namespace seam

/// A read-side section, for a scope. Never blocks, except that a thread's first section takes a lock to register it.
class [[nodiscard]] rcu_read_guard {
 public:
  rcu_read_guard() noexcept { seam::rcu_read_lock(); }
  ~rcu_read_guard() { seam::rcu_read_unlock(); }
  rcu_read_guard(const rcu_read_guard&) = delete;
  rcu_read_guard& operator=(const rcu_read_guard&) = delete;
};

/// Waits until every section that was open at the time of the call has ended. Blocks. Must not be called inside a
/// section, nor with a lock held that a section may acquire.
void rcu_synchronize() noexcept;

/// For a child that was created by a system call, without the handlers of pthread_atfork(3): forgets the sections of
/// the parent's other threads, which do not exist here. Only while this process has one thread.
void rcu_forget_other_threads() noexcept;

/// A pointer that readers follow inside sections while updaters change it.
template <class T>
class rcu_pointer {
 public:
  constexpr explicit rcu_pointer(T* initial = nullptr) noexcept : pointer_{initial} {}
  rcu_pointer(const rcu_pointer&) = delete;
  rcu_pointer& operator=(const rcu_pointer&) = delete;

  /// The current pointer; the object stays valid until the section ends.
  // Acquire pairs with the release in store() and exchange().
  [[nodiscard]] T* load(const rcu_read_guard&) const noexcept { return pointer_.load(memory_order_acquire); }

  /// The same for an updater that holds the lock which excludes other updaters.
  [[nodiscard]] T* load_for_update() const noexcept { return pointer_.load(memory_order_relaxed); }

  /// Publishes a pointer, and all that was stored in the object before.
  void store(T* next) noexcept { pointer_.store(next, memory_order_release); }

  /// Publishes another pointer and returns the old one, which readers may use until rcu_synchronize() has returned.
  [[nodiscard]] T* exchange(T* next) noexcept { return pointer_.exchange(next, memory_order_acq_rel); }

 private:
  atomic<T*> pointer_;
};

}  // namespace doorbell::base
