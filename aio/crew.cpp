// SPDX-License-Identifier: Apache-2.0
#include "crew.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

namespace doorbell::aio {
namespace {

constexpr unsigned least_workers = 4;
constexpr std::chrono::seconds idle_time{5};

/// Which crew is the process's. Needs neither a constructor nor a destructor to run: there as long as any thread is.
struct {
  base::mutex lock;
  crew* current DOORBELL_GUARDED_BY(lock) = nullptr;
  crew* inherited DOORBELL_GUARDED_BY(lock) = nullptr;
} constinit of_process;

}  // namespace

worker_pool::limits crew::process_limits() noexcept {
  const auto processors = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  return {.most_workers = std::max(least_workers, 2 * processors), .idle_time = idle_time};
}

crew* crew::process(std::error_code& ec) noexcept {
  const base::mutex_lock held{of_process.lock};
  if (of_process.current == nullptr) {
    of_process.current = new (std::nothrow) crew{process_limits()};
    if (of_process.current == nullptr)
      ec = std::make_error_code(std::errc::not_enough_memory);
    else
      of_process.current->inherited = std::exchange(of_process.inherited, nullptr);
  }
  return of_process.current;
}

// What the first locks the other two may unlock: it is the same thread. The pool's lock is not among them: the child has
// no use for what it guards.
void crew::before_fork() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  of_process.lock.lock();
  if (of_process.current != nullptr) of_process.current->waits.before_fork();
}

void crew::after_fork_in_parent() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  if (of_process.current != nullptr) of_process.current->waits.after_fork_in_parent();
  of_process.lock.unlock();
}

void crew::after_fork_in_child() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
  if (auto* const parents = std::exchange(of_process.current, nullptr); parents != nullptr) {
    parents->waits.after_fork_in_child();
    of_process.inherited = parents;
  }
  of_process.lock.unlock();
}

}  // namespace doorbell::aio
