// SPDX-License-Identifier: Apache-2.0
//
// A thread of doorbell's own: detached, named, with all signals blocked, since they are the program's threads' to handle.
// The thread that needs it first may be pinned to a processor, be a real-time thread, or be nice; its work is then not
// to be that of all contexts. So such a thread runs by the usual policy (SCHED_OTHER), on the processors and with the
// niceness and I/O priority of the process's first thread, and its stack has 1 MiB or more. Where the system refuses one
// of these, it has its creator's.
// It must touch nothing that is destroyed before the process ends, or be waited for by other means.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <system_error>

namespace doorbell::base {

/// Starts a thread that runs `body(argument)`.
/// @param name at most 15 characters, for those who look at the process's threads.
/// Errors: what pthread_create(3) says.
[[nodiscard]] std::error_code start_background_thread(const char* name, void (*body)(void*) noexcept,
                                                      void* argument) noexcept;

/// Whether all threads of the program have ended, its first one by pthread_exit(3), so that the background threads keep
/// the process alive, and block its signals. Called in a background thread.
/// @return false also where that cannot be told: without /proc, or with background threads of another copy of the
/// library.
[[nodiscard]] bool only_background_threads_are_left() noexcept;

}  // namespace doorbell::base
