// SPDX-License-Identifier: Apache-2.0
//
// Only the thread that forks lives on in the child. So the locks of what is the process's are taken before, in their
// order, and let go on both sides; and what other threads were at (requests, reaping) the child leaves behind. Its
// contexts' memory is the price: nobody knows in which state it was.
#include "fork.hpp"

#include <doorbell/base/rcu.hpp>
#include <doorbell/base/thread_annotations.hpp>

#include <pthread.h>

#include <thread>

#include "crew.hpp"
#include "eventfd_signal.hpp"
#include "ioctx_table.hpp"
#include "kernel_aio.hpp"
#include "kernel_context.hpp"
#include "reaper.hpp"
#include "request_limit.hpp"
#include "resfd.hpp"
#include "sleep_record.hpp"

namespace doorbell::aio {
namespace {

/// With the generation of a process: one of its threads is noticing that it is a child.
constexpr std::uint64_t being_noticed = std::uint64_t{1} << 32;

// Handlers of this process's fork(3) run, or will: the child has been noticed though it is not marked yet.
constinit thread_local bool is_forking __attribute__((tls_model("initial-exec"))) = false;

// Also makes them, unless they are there: the child could not finish what another thread was just making.
void before_fork() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  is_forking = true;
  reaper::process().lock_for_fork();
  ioctx_table::process().lock_for_fork();
  crew::before_fork();
  shared_bells::process().lock_for_fork();
}

void unlock() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  shared_bells::process().unlock_after_fork();
  ioctx_table::process().unlock_after_fork();
  reaper::process().unlock_after_fork();
}

void after_fork_in_parent() noexcept {
  crew::after_fork_in_parent();
  unlock();
  is_forking = false;
}

void after_fork_in_child() noexcept {
  crew::after_fork_in_child();
  kernel_aio::forget_spares_in_child();
  eventfd_signal::forget_context_in_child();
  kernel_context::forget_all_in_child();
  unlock();
  reaper::process().forget_all();
  ioctx_table::process().forget_all();
  request_limit::process().forget_all();
  shared_bells::process().forget_all();
  sleep_record::forget_all();
  noticed_process::generation.store(base::process_generation(), base::memory_order_release);
  is_forking = false;
}

// Before there are threads: of handlers registered while another thread forks, that fork calls none, or only the last. No
// lock of ours is held where RCU is used, so it is the same whose handlers come first.
[[gnu::constructor]] void register_handlers() noexcept {
  ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

}  // namespace

void expect_forks() noexcept {}

// Nothing of the parent's is freed or closed: other threads may have been changing it, and the child may share the parent's
// descriptors (CLONE_FILES).
void become_child() noexcept {
  if (is_forking) return;
  auto& noticed = noticed_process::generation;
  const std::uint64_t own = base::process_generation();
  // A thread of the parent may have been noticing that the parent is a child.
  for (auto known = noticed.load(base::memory_order_acquire);;) {
    if (known == own) return;
    if (known == (own | being_noticed)) {
      std::this_thread::yield();
      known = noticed.load(base::memory_order_acquire);
    } else if (noticed.compare_exchange_strong(known, own | being_noticed, base::memory_order_acq_rel)) {
      break;
    }
  }
  base::rcu_forget_other_threads();
  crew::begin_anew();
  reaper::process().begin_anew();
  ioctx_table::process().begin_anew();
  shared_bells::process().begin_anew();
  request_limit::process().forget_all();
  kernel_aio::forget_spares_in_child();
  eventfd_signal::forget_context_in_child();
  kernel_context::forget_all_in_child();
  sleep_record::forget_all();
  noticed.store(own, base::memory_order_release);
}

}  // namespace doorbell::aio
