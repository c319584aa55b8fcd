// SPDX-License-Identifier: Apache-2.0
//
// Only the thread that forks lives on in the child. So the locks of what is the process's are taken before, in their
// order, and let go on both sides; and what other threads were at (requests, reaping) the child leaves behind. Its
// contexts' memory is the price: nobody knows in which state it was.
#include "fork.hpp"

#include <doorbell/base/thread_annotations.hpp>

#include <pthread.h>

#include "crew.hpp"
#include "ioctx_table.hpp"
#include "reaper.hpp"
#include "request_limit.hpp"

namespace doorbell::aio {
namespace {

// Also makes them, unless they are there: the child could not finish what another thread was just making.
void before_fork() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  reaper::process().lock_for_fork();
  ioctx_table::process().lock_for_fork();
  crew::before_fork();
}

void unlock() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  ioctx_table::process().unlock_after_fork();
  reaper::process().unlock_after_fork();
}

void after_fork_in_parent() noexcept {
  crew::after_fork_in_parent();
  unlock();
}

void after_fork_in_child() noexcept {
  crew::after_fork_in_child();
  unlock();
  reaper::process().forget_all();
  ioctx_table::process().forget_all();
  request_limit::process().forget_all();
}

// Before there are threads: of handlers registered while another thread forks, that fork calls none, or only the last. No
// lock of ours is held where RCU is used, so it is the same whose handlers come first.
[[gnu::constructor]] void register_handlers() noexcept {
  ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

}  // namespace

void expect_forks() noexcept {}

}  // namespace doorbell::aio
