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

/// Which crew is the process's.
struct crew_of_process {
  base::mutex lock;
  crew* current ABSL_GUARDED_BY(lock) = nullptr;
  crew* inherited ABSL_GUARDED_BY(lock) = nullptr;
};

crew_of_process& here() noexcept {
  static crew_of_process& one = *new crew_of_process;
  return one;
}

}  // namespace

worker_pool::limits crew::process_limits() noexcept {
  const auto processors = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  return {.most_workers = std::max(least_workers, 2 * processors), .idle_time = idle_time};
}

crew* crew::process(std::error_code& ec) noexcept {
  auto& process = here();
  const base::mutex_lock held{process.lock};
  if (process.current == nullptr) {
    process.current = new (std::nothrow) crew{process_limits()};
    if (process.current == nullptr)
      ec = std::make_error_code(std::errc::not_enough_memory);
    else
      process.current->inherited = std::exchange(process.inherited, nullptr);
  }
  return process.current;
}

// What the first locks the other two may unlock: it is the same thread. The pool's lock is not among them: the child has
// no use for what it guards.
void crew::before_fork() noexcept ABSL_NO_THREAD_SAFETY_ANALYSIS {
  auto& process = here();
  process.lock.lock();
  if (process.current != nullptr) process.current->waits.before_fork();
}

void crew::after_fork_in_parent() noexcept ABSL_NO_THREAD_SAFETY_ANALYSIS {
  auto& process = here();
  if (process.current != nullptr) process.current->waits.after_fork_in_parent();
  process.lock.unlock();
}

void crew::after_fork_in_child() noexcept ABSL_NO_THREAD_SAFETY_ANALYSIS {
  auto& process = here();
  if (auto* const parents = std::exchange(process.current, nullptr); parents != nullptr) {
    parents->waits.after_fork_in_child();
    process.inherited = parents;
  }
  process.lock.unlock();
}

}  // namespace doorbell::aio
