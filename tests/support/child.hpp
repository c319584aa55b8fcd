// SPDX-License-Identifier: Apache-2.0
//
// A body run in a child process of its own. Its expectations count as the parent's: a child that failed one, or hung,
// or died, fails the test.
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

// By default ThreadSanitizer ends a child of a program with threads that starts a thread itself. Its library looks for
// this by name, also from a shared one.
#define DOORBELL_TEST_FORKS \
  extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace doorbell::test {

/// How long a child may take; a multiple of what it needs, also under a sanitizer and with other programs about.
inline constexpr unsigned child_patience_in_seconds = 40;

/// Forks; under a sanitizer, once the other threads sleep: a thread that starts holds one of the sanitizer's locks, the
/// child inherits it as it is (sanitizer.hpp), and needs it for threads of its own, or at its exit to look for leaks.
[[nodiscard]] inline pid_t fork_when_quiet() {
  if constexpr (sanitized) expect_others_fall_asleep();
  return ::fork();
}

/// Forks. In the child: bounded by SIGALRM, calls `body`, which ends the process itself or by returning.
template <class Body>
[[nodiscard]] pid_t start_child(Body body) {
  const pid_t child = fork_when_quiet();
  if (child != 0) return child;
  ::alarm(child_patience_in_seconds);
  body();
  ::_exit(testing::Test::HasFailure() ? EXIT_FAILURE : EXIT_SUCCESS);
}

/// Waits for a child, which is to end of its own accord and with status 0.
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
