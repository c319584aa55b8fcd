// SPDX-License-Identifier: Apache-2.0
//
// RCU: readers that neither wait nor write anything shared; whoever takes an object away waits until no reader can still
// see it, and frees it then. A thin layer over liburcu-bp, which wants no thread registered and is safe in signal handlers.
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
// Thread safety: everything, from any thread, at once. Sections nest; they may be long, but whoever synchronizes waits
// for them, so nothing in them sleeps. Nobody forks inside a section: fork waits for a grace period that others have
// begun, and that waits for the section.
// Memory ordering: what a section did happens before the return of a synchronize that waited for it; what came before
// synchronize happens before whatever a section does that begins after it. liburcu is not compiled with
// ThreadSanitizer, so both edges are told to it here, and nowhere else.
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

// As <urcu/urcu-bp.h> declares them, which is thus not needed by those who include this header. rcu.cpp includes both.
// NOLINTBEGIN(readability-redundant-declaration): for that one file they are
extern "C" {
void urcu_bp_read_lock();
void urcu_bp_read_unlock();
}
// NOLINTEND(readability-redundant-declaration)

namespace doorbell::base {
namespace seam {

// Two addresses, since one would order each reader after the readers before it, and hide their races.
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

/// A read-side section, for a scope. Never blocks; a thread's first one takes a lock to make itself known.
class [[nodiscard]] rcu_read_guard {
 public:
  rcu_read_guard() noexcept { seam::rcu_read_lock(); }
  ~rcu_read_guard() { seam::rcu_read_unlock(); }
  rcu_read_guard(const rcu_read_guard&) = delete;
  rcu_read_guard& operator=(const rcu_read_guard&) = delete;
};

/// Waits until every section that was open when it was called has ended. Blocks; not inside a section, nor with a lock
/// held that a section may want.
void rcu_synchronize() noexcept;

/// In a child that was created by a system call, without fork(3)'s handlers: forgets the sections of the parent's other
/// threads, which do not exist here. Only while this process has one thread.
void rcu_forget_other_threads() noexcept;

/// A pointer that readers follow inside sections while updaters change it.
template <class T>
class rcu_pointer {
 public:
  constexpr explicit rcu_pointer(T* initial = nullptr) noexcept : pointer_{initial} {}
  rcu_pointer(const rcu_pointer&) = delete;
  rcu_pointer& operator=(const rcu_pointer&) = delete;

  /// What it points to; good until the section ends.
  // Acquire pairs with the release in store() and exchange().
  [[nodiscard]] T* load(const rcu_read_guard&) const noexcept { return pointer_.load(memory_order_acquire); }

  /// The same for an updater, who holds whatever lock keeps other updaters away.
  [[nodiscard]] T* load_for_update() const noexcept { return pointer_.load(memory_order_relaxed); }

  /// Publishes what has been built before.
  void store(T* next) noexcept { pointer_.store(next, memory_order_release); }

  /// Publishes another one and takes the old one, of which readers may know until rcu_synchronize().
  [[nodiscard]] T* exchange(T* next) noexcept { return pointer_.exchange(next, memory_order_acq_rel); }

 private:
  atomic<T*> pointer_;
};

}  // namespace doorbell::base
