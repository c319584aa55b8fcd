// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <urcu/urcu-bp.h>

#include <cassert>
#include <csignal>

#include <doorbell/base/rcu.hpp>

namespace doorbell::base {
namespace {

// A child has one thread: the sections of all others are forgotten there, or its first synchronize would wait for ever.
[[gnu::constructor]] void survive_fork() noexcept {
  ::pthread_atfork(urcu_bp_before_fork, urcu_bp_after_fork_parent, urcu_bp_after_fork_child);
}

}  // namespace

void rcu_synchronize() noexcept {
  assert(!urcu_bp_read_ongoing() && "rcu_synchronize: would wait for its own section");
  seam::rcu_tell_release(seam::rcu_synchronize_begun);  // pairs with the acquire in rcu_read_lock()
  urcu_bp_synchronize_rcu();
  seam::rcu_tell_acquire(seam::rcu_sections_ended);  // pairs with the release in rcu_read_unlock()
}

// liburcu's handler for fork(3) also releases its two mutexes, which this thread has not locked but a thread of the parent
// may have, and sets the signal mask to what its other handler has kept. Both mutexes are of the kind that does not check
// its owner.
void rcu_forget_other_threads() noexcept {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  urcu_bp_after_fork_child();
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

}  // namespace doorbell::base
