// SPDX-License-Identifier: Apache-2.0
//
// Two threads on one CPU, the first of which yields to the other whenever it wakes it. So steps of the other thread
// that would rarely come between two steps of the first come there every time.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include "support/asleep.hpp"
#include "support/cpus.hpp"

namespace doorbell::test {

/// From now on, a thread that the calling thread wakes on its CPU runs before the calling thread continues. Cannot be
/// undone.
inline void be_overtaken(pthread_t slow = ::pthread_self()) {
  const sched_param none{};
  EXPECT_EQ(::pthread_setschedparam(slow, SCHED_IDLE, &none), 0);
}

/// A thread in `body`, on the one CPU that all of these share; by the time it is constructed, it sleeps.
class in_line : public asleep {
 public:
  template <class Body>
  explicit in_line(Body body)
      : asleep{[body] {
          const on_cpu the_same{allowed_cpus().front()};
          body();
        }} {}
};

/// The same, which will be overtaken.
class in_line_and_slow : public in_line {
 public:
  template <class Body>
  explicit in_line_and_slow(Body body) : in_line{body} {
    be_overtaken(native_handle());
  }
};

}  // namespace doorbell::test
