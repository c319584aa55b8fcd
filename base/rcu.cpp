// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <urcu/urcu-bp.h>

#include <cassert>
#include <csignal>
#include <utility>

#include <doorbell/base/rcu.hpp>

namespace doorbell::base {
namespace {

// A child of fork(2) has one thread. It must forget the sections of all others, or its first synchronize would wait for
// ever. For that purpose liburcu's own handlers lock its two mutexes before a fork, and unlock them after it.
//
// liburcu is one shared library, but the process may contain several copies of this file (a program linked with
// libdoorbell.a that runs under the drop-in, two plug-ins), each of which registers these handlers. The first handler
// locks the mutexes and leaves a mark for the other copies, which would otherwise lock the same mutexes again. The mark
// is a number of open sections of this thread, larger than any code opens: nothing else in liburcu is visible to all
// copies. These sections delay no other thread, since no grace period can end while the mutexes are locked.
//
//   second copy (its `before` runs first)  first copy
//   before: not marked: locks, marks
//                                          before: marked: returns
//                     ---- fork ----
//                                          after: has nothing to undo
//   after: removes the mark, unlocks
//
// The copies may run in any order: the copy that locked unlocks, and none of them uses RCU in a handler in between.
//
// A thread that forks inside a section (in a signal handler that interrupted a call) must not lock: another thread may
// hold the mutexes while it waits for a grace period, until the section ends. In that case no copy locks, and the child
// calls rcu_forget_other_threads(), as a child without fork handlers does.
enum class fork_duty { none, unlock, forget };

constinit thread_local fork_duty duty __attribute__((tls_model("initial-exec"))) = fork_duty::none;

/// The number of sections that the thread is in. Registers the thread with liburcu, if it was not registered; this
/// locks one of the mutexes, so a copy calls it before it locks them.
int sections_of_this_thread() noexcept { return urcu_bp_read_ongoing(); }

constexpr int sections_of_mark = 256;

void mark() noexcept {
  for (int i = 0; i < sections_of_mark; ++i) urcu_bp_read_lock();
}

void unmark() noexcept {
  for (int i = 0; i < sections_of_mark; ++i) urcu_bp_read_unlock();
}

void before_fork() noexcept {
  const int sections = sections_of_this_thread();
  if (sections >= sections_of_mark) return;
  duty = sections == 0 ? fork_duty::unlock : fork_duty::forget;
  if (duty == fork_duty::unlock) urcu_bp_before_fork();
  mark();
}

void after_fork_in_parent() noexcept {
  const auto undone = std::exchange(duty, fork_duty::none);
  if (undone == fork_duty::none) return;
  unmark();
  if (undone == fork_duty::unlock) urcu_bp_after_fork_parent();
}

void after_fork_in_child() noexcept {
  const auto undone = std::exchange(duty, fork_duty::none);
  if (undone == fork_duty::none) return;
  unmark();
  if (undone == fork_duty::unlock)
    urcu_bp_after_fork_child();
  else
    rcu_forget_other_threads();
}

[[gnu::constructor]] void survive_fork() noexcept {
  ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

}  // namespace

void rcu_synchronize() noexcept {
  assert(!urcu_bp_read_ongoing() && "rcu_synchronize: would wait for its own section");
  seam::rcu_tell_release(seam::rcu_synchronize_begun);  // pairs with the acquire in rcu_read_lock()
  urcu_bp_synchronize_rcu();
  seam::rcu_tell_acquire(seam::rcu_sections_ended);  // pairs with the release in rcu_read_unlock()
}

// liburcu's handler for fork(2) also unlocks its two mutexes, which this thread has not locked, though a thread of the
// parent may have, and sets the signal mask to the one that its other handler saved. Both mutexes are of the kind that
// does not check its owner.
void rcu_forget_other_threads() noexcept {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  urcu_bp_after_fork_child();
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

}  // namespace doorbell::base
