// SPDX-License-Identifier: Apache-2.0
//
// Two threads on one CPU, the first of which gives way to the other whenever it wakes it. So what the other would do
// between two steps of the first, one moment in a million, it does there every time.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include "support/asleep.hpp"
#include "support/cpus.hpp"

namespace doorbell::test {

/// From now on, whomever that thread wakes on its CPU runs before it goes on. Cannot be taken back.
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
