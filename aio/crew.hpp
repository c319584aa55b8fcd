// SPDX-License-Identifier: Apache-2.0
//
// crew: what all contexts of a process on engine_threads share: the workers and the poller.
//
// One a process, made on first need and never destroyed: its threads may run until the very end, and end with it. In a
// fork's child none of its threads exists, and its locks may be held by threads that are not there; so the child forgets the
// parent's crew, whatever state it is in, and makes its own on first need.
//
// Lock order: the lock that guards which crew is the process's, then the poller's.
#pragma once

#include <system_error>

#include "poller.hpp"
#include "worker_pool.hpp"

namespace doorbell::aio {

struct crew {
  /// The one of this process. Null when `ec` is set: not_enough_memory.
  [[nodiscard]] static crew* process(std::error_code& ec) noexcept;

  /// How many workers the process's has at most, and for how long one stays without work.
  [[nodiscard]] static worker_pool::limits process_limits() noexcept;

  /// Around fork(2), in the thread that forks.
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;

  explicit crew(worker_pool::limits within) noexcept : workers{within} {}

  worker_pool workers;
  poller waits;
  /// For transfers that may sleep when another of ours was quicker.
  base::mutex one_at_a_time;
  crew* inherited = nullptr;  // the parent process's: not to be used, and not lost either
};

}  // namespace doorbell::aio
