// SPDX-License-Identifier: Apache-2.0
#include "crew.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>

namespace doorbell::aio {
namespace {

constexpr unsigned least_workers = 4;
constexpr std::chrono::seconds idle_time{5};

/// Which crew is the process's.
struct crew_of_process {
  base::mutex lock;
  crew* current ABSL_GUARDED_BY(lock) = nullptr;
  crew* inherited ABSL_GUARDED_BY(lock) = nullptr;
  bool watches_fork ABSL_GUARDED_BY(lock) = false;
};

crew_of_process& here() noexcept {
  static crew_of_process& one = *new crew_of_process;
  return one;
}

// The three run in the thread that forks, so what the first locks the others may unlock.
void before_fork() noexcept ABSL_NO_THREAD_SAFETY_ANALYSIS {
  here().lock.lock();
  if (here().current != nullptr) here().current->waits.before_fork();
}

void after_fork_in_parent() noexcept ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (here().current != nullptr) here().current->waits.after_fork_in_parent();
  here().lock.unlock();
}

void after_fork_in_child() noexcept ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (auto* const parents = std::exchange(here().current, nullptr); parents != nullptr) {
    parents->waits.after_fork_in_child();
    here().inherited = parents;
  }
  here().lock.unlock();
}

}  // namespace

worker_pool::limits crew::process_limits() noexcept {
  const auto processors = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  return {.most_workers = std::max(least_workers, 2 * processors), .idle_time = idle_time};
}

crew* crew::process(std::error_code& ec) noexcept {
  auto& process = here();
  const base::mutex_lock held{process.lock};
  if (!process.watches_fork) {
    ec.assign(::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child), std::system_category());
    if (ec) return nullptr;
    process.watches_fork = true;
  }
  if (process.current == nullptr) {
    process.current = new (std::nothrow) crew{process_limits()};
    if (process.current == nullptr) ec = std::make_error_code(std::errc::not_enough_memory);
    if (process.current != nullptr) process.current->inherited = std::exchange(process.inherited, nullptr);
  }
  return process.current;
}

}  // namespace doorbell::aio
