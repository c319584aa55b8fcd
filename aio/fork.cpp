// SPDX-License-Identifier: Apache-2.0
//
// Only the thread that forks lives on in the child. So the locks of what is the process's are taken before, in their
// order, and let go on both sides; and what other threads were at (requests, reaping) the child leaves behind. Its
// contexts' memory is the price: nobody knows in which state it was.
#include "fork.hpp"

#include <doorbell/base/rcu.hpp>
#include <doorbell/base/thread_annotations.hpp>

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <thread>

#include "crew.hpp"
#include "ioctx_table.hpp"
#include "reaper.hpp"
#include "request_limit.hpp"
#include "resfd.hpp"
#include "sleep_record.hpp"

namespace doorbell::aio {
namespace {

// The values of the mark. The kernel sets it to unnoticed in each child.
constexpr std::uint32_t unnoticed = 0;
constexpr std::uint32_t noticed = 1;
constexpr std::uint32_t being_noticed = 2;

// Handlers of this process's fork(3) run, or will: the child has been noticed though it is not marked yet.
constinit thread_local bool is_forking __attribute__((tls_model("initial-exec"))) = false;

void make_mark() noexcept {
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* const page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (::madvise(page, size, MADV_WIPEONFORK) != 0) {
    ::munmap(page, size);
    return;
  }
  process_mark::here = new (page) base::atomic<std::uint32_t>{noticed};
}

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
  unlock();
  reaper::process().forget_all();
  ioctx_table::process().forget_all();
  request_limit::process().forget_all();
  shared_bells::process().forget_all();
  sleep_record::forget_all();
  process_mark::here->store(noticed, base::memory_order_release);
  is_forking = false;
}

// Before there are threads: of handlers registered while another thread forks, that fork calls none, or only the last. No
// lock of ours is held where RCU is used, so it is the same whose handlers come first.
[[gnu::constructor]] void register_handlers() noexcept {
  make_mark();
  ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

}  // namespace

void expect_forks() noexcept {}

// Nothing of the parent's is freed or closed: other threads may have been changing it, and the child may share the parent's
// descriptors (CLONE_FILES).
void become_child() noexcept {
  if (is_forking) return;
  auto& mark = *process_mark::here;
  auto expected = unnoticed;
  if (!mark.compare_exchange_strong(expected, being_noticed, base::memory_order_acq_rel)) {
    while (mark.load(base::memory_order_acquire) == being_noticed) std::this_thread::yield();
    return;
  }
  base::rcu_forget_other_threads();
  crew::begin_anew();
  reaper::process().begin_anew();
  ioctx_table::process().begin_anew();
  shared_bells::process().begin_anew();
  request_limit::process().forget_all();
  sleep_record::forget_all();
  mark.store(noticed, base::memory_order_release);
}

}  // namespace doorbell::aio
