// SPDX-License-Identifier: Apache-2.0
//
// A thread of doorbell's own: detached, named, and with all signals blocked, since the program's threads handle
// signals. The thread that starts it may be pinned to a processor, have a real-time policy, or be nice; the background
// thread works for all contexts and must not inherit that. It runs with the usual policy (SCHED_OTHER), on the
// processors and with the niceness and I/O priority of the process's first thread, and its stack has 1 MiB or more. If
// the system refuses one of these, the thread keeps its creator's. The thread must not touch anything that is destroyed
// before the process ends, unless the destructor waits for it.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <system_error>

namespace doorbell::base {

/// Starts a thread that runs `body(argument)`.
/// @param name at most 15 characters; ps(1), top(1) and debuggers show it.
/// Errors: not_enough_memory; resource_unavailable_try_again for every error of pthread_create(3).
[[nodiscard]] std::error_code start_background_thread(const char* name, void (*body)(void*) noexcept,
                                                      void* argument) noexcept;

/// Whether all threads of the program have ended, the first one by pthread_exit(3). The background threads then keep
/// the process alive, with its signals blocked. Call it in a background thread.
/// @return false also if this cannot be determined: without /proc, or if another copy of the library in the process has
/// background threads.
[[nodiscard]] bool only_background_threads_are_left() noexcept;

}  // namespace doorbell::base
