// SPDX-License-Identifier: Apache-2.0
//
// Only the forking thread exists in the child. So the locks of the process-wide objects are taken before the fork, in
// their order, and released in both processes. The child abandons the work of other threads (requests, reaping). It
// leaks the memory of the contexts, because the state of that memory is unknown.
#include "fork.hpp"

#include <doorbell/base/rcu.hpp>
#include <doorbell/base/thread_annotations.hpp>

#include <pthread.h>

#include <thread>

#include "../engine/kernel/kernel_aio.hpp"
#include "../engine/threads/io_threads.hpp"
#include "../reaper/reaper.hpp"
#include "../resfd/resfd.hpp"
#include "../system/eventfd_signal.hpp"
#include "../system/kernel_context.hpp"
#include "ioctx_table.hpp"
#include "request_limit.hpp"
#include "sleep_record.hpp"

namespace doorbell::aio {
namespace {

/// A bit of noticed_process::generation, beside the generation of a child: a thread of the child is in become_child(),
/// and has not completed it.
constexpr std::uint64_t being_noticed = std::uint64_t{1} << 32;

// This thread is inside fork(2), whose handlers run: in the child they do become_child()'s work, so become_child() must
// do nothing until they have finished.
constinit thread_local bool is_forking __attribute__((tls_model("initial-exec"))) = false;

// Also creates the objects that do not exist yet: the child could not complete a construction that another thread had
// begun.
void before_fork() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  is_forking = true;
  reaper::process().lock_for_fork();
  ioctx_table::process().lock_for_fork();
  io_threads::before_fork();
  resfd_registry::process().lock_for_fork();
}

void unlock() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  resfd_registry::process().unlock_after_fork();
  ioctx_table::process().unlock_after_fork();
  reaper::process().unlock_after_fork();
}

void after_fork_in_parent() noexcept {
  io_threads::after_fork_in_parent();
  unlock();
  is_forking = false;
}

void after_fork_in_child() noexcept {
  io_threads::after_fork_in_child();
  kernel_aio::forget_spares_in_child();
  eventfd_signal::forget_context_in_child();
  kernel_context::forget_all_in_child();
  unlock();
  reaper::process().forget_all();
  ioctx_table::process().forget_all();
  request_limit::process().forget_all();
  resfd_registry::process().forget_all();
  sleep_record::forget_all();
  noticed_process::generation.store(base::process_generation(), base::memory_order_release);
  is_forking = false;
}

// Before there are threads: if handlers are registered while another thread forks, that fork calls none of them, or
// only the last. No doorbell lock is held while RCU is used, so the order of these handlers and those of RCU does not
// matter.
[[gnu::constructor]] void register_handlers() noexcept {
  ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

}  // namespace

void expect_forks() noexcept {}

// Frees and closes nothing of the parent's: other threads may have been changing it, and the child may share the
// parent's descriptors (CLONE_FILES).
void become_child() noexcept {
  if (is_forking) return;
  auto& noticed = noticed_process::generation;
  const std::uint64_t own = base::process_generation();
  // `known` may also be the parent's generation with being_noticed: the parent may itself be a child, and have forked
  // while one of its threads was in become_child().
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
  io_threads::begin_anew();
  reaper::process().begin_anew();
  ioctx_table::process().begin_anew();
  resfd_registry::process().begin_anew();
  request_limit::process().forget_all();
  kernel_aio::forget_spares_in_child();
  eventfd_signal::forget_context_in_child();
  kernel_context::forget_all_in_child();
  sleep_record::forget_all();
  noticed.store(own, base::memory_order_release);
}

}  // namespace doorbell::aio
