// SPDX-License-Identifier: Apache-2.0
//
// For test programs in C: prints each expectation, and ends the program at the first that fails.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/// A number that no call sets errno to.
enum { errno_before = 4242 };

static void expect(const char* what, long got, long wanted, int line) {
  printf("%s = %ld\n", what, got);
  if (got == wanted) return;
  printf("line %d: expected %ld\n", line, wanted);
  exit(EXIT_FAILURE);
}

/// Requires that an expression has a value.
#define EXPECT(expression, wanted) expect(#expression, (long)(expression), (long)(wanted), __LINE__)

/// Requires that a call of libaio has a result, and does not change errno.
#define EXPECT_AIO(call, wanted)          \
  do {                                    \
    errno = errno_before;                 \
    const long got = (call);              \
    const int errno_after = errno;        \
    expect(#call, got, wanted, __LINE__); \
    EXPECT(errno_after, errno_before);    \
  } while (0)
