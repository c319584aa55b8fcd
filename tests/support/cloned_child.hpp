// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "support/child.hpp"

namespace doorbell::test {

/// Runs `body` in a child created by a direct clone(2), for which no handler of pthread_atfork(3) runs.
template <class Body>
void in_cloned_child(Body body) {
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    ::alarm(child_patience_in_seconds);
    body();
    ::_exit(testing::Test::HasFailure() ? EXIT_FAILURE : EXIT_SUCCESS);
  }
  expect_success(child);
}

}  // namespace doorbell::test
