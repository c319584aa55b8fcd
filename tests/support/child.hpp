// SPDX-License-Identifier: Apache-2.0
//
// Runs a body in a child process. A child that fails an expectation, hangs, or dies fails the test.
//
// A program whose threads fork under ThreadSanitizer, and whose children start threads, needs DOORBELL_TEST_FORKS in
// one of its sources.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "support/others_asleep.hpp"
#include "support/sanitizer.hpp"

// By default ThreadSanitizer ends the child of a multi-threaded program if the child starts a thread. Its library finds
// this function by name, also if that library is a shared one.
#define DOORBELL_TEST_FORKS \
  extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace doorbell::test {

/// The time limit of a child: a multiple of the time that it needs, also under a sanitizer and while other programs
/// run.
inline constexpr unsigned child_patience_in_seconds = 40;

/// Forks. Under a sanitizer, first waits until the other threads sleep: a starting thread holds one of the sanitizer's
/// locks, the child inherits that lock held (sanitizer.hpp), and needs it to start threads, or at its exit to check for
/// leaks.
[[nodiscard]] inline pid_t fork_when_quiet() {
  if constexpr (sanitized) expect_others_fall_asleep();
  return ::fork();
}

/// Forks. The child calls `body`, which ends the process or returns; SIGALRM limits its time.
template <class Body>
[[nodiscard]] pid_t start_child(Body body) {
  const pid_t child = fork_when_quiet();
  if (child != 0) return child;
  ::alarm(child_patience_in_seconds);
  body();
  ::_exit(testing::Test::HasFailure() ? EXIT_FAILURE : EXIT_SUCCESS);
}

/// Waits for a child, and expects that it exits with status 0.
inline void expect_success(pid_t child) {
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_FALSE(WIFSIGNALED(status)) << "ended by signal " << WTERMSIG(status)
                                    << (WTERMSIG(status) == SIGALRM ? ": it hung" : "");
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

template <class Body>
void in_child(Body body) {
  expect_success(start_child(body));
}

}  // namespace doorbell::test
