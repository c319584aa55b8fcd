// SPDX-License-Identifier: Apache-2.0
//
// Two threads on one CPU. Whenever the first wakes the second, the second runs first. So steps of the second thread
// that would rarely occur between two steps of the first always occur there.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include "support/asleep.hpp"
#include "support/cpus.hpp"

namespace doorbell::test {

/// From now on, a thread that `slow` wakes on the CPU of `slow` runs before `slow` continues. Cannot be undone.
inline void be_overtaken(pthread_t slow = ::pthread_self()) {
  const sched_param none{};
  EXPECT_EQ(::pthread_setschedparam(slow, SCHED_IDLE, &none), 0);
}

/// A thread that runs `body`, on one CPU that all objects of this class share. When the constructor returns, it sleeps.
class in_line : public asleep {
 public:
  template <class Body>
  explicit in_line(Body body)
      : asleep{[body] {
          const on_cpu the_same{allowed_cpus().front()};
          body();
        }} {}
};

/// Such a thread that is overtaken by the threads that it wakes: be_overtaken() has been applied to it.
class in_line_and_slow : public in_line {
 public:
  template <class Body>
  explicit in_line_and_slow(Body body) : in_line{body} {
    be_overtaken(native_handle());
  }
};

}  // namespace doorbell::test
