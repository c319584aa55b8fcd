// SPDX-License-Identifier: Apache-2.0
//
// fork_aware_mutex: among threads of one process, and in a child of the process.
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/fork_aware_mutex.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::atomic;
using base::fork_aware_mutex;

/// More steps than lock, change and unlock need.
constexpr unsigned steps_of_a_change = 12;

}  // namespace

SCENARIO(fork_aware_mutex_contended, 3, "three threads get the mutex one after another, and no wakeup is lost") {
  fork_aware_mutex mutex;
  int inside = 0;  // plain: a second thread inside would be a data race
  const auto enter = [&] {
    mutex.lock();
    ++inside;
    mutex.unlock();
  };
  together({{"first", enter}, {"second", enter}, {"third", [&] {
                                                    if (!mutex.try_lock()) return enter();
                                                    ++inside;
                                                    mutex.unlock();
                                                  }}});
  REQUIRE(inside == 3);
}
AND_WEAK(fork_aware_mutex_contended, 3, 3);

SCENARIO(fork_aware_mutex_freed, 3, "the last holder may free the mutex while the previous holder is still in unlock") {
  struct guarded {
    fork_aware_mutex mutex;
    int holders = 2;
  };
  auto* const shared = new guarded;
  const auto leave = [&] {
    shared->mutex.lock();
    const bool last = --shared->holders == 0;
    shared->mutex.unlock();
    if (last) delete shared;
  };
  together({{"first", leave}, {"second", leave}});
}

SCENARIO(fork_aware_mutex_in_child, 2,
         "a child's threads get a mutex that a thread of the parent held, one after another; one lock() reports the "
         "takeover") {
  fork_aware_mutex mutex;
  int half = 0;
  int whole = 0;
  atomic<int> between{0};  // a step, so that the fork may come between the two changes
  const auto change = [&] {
    mutex.lock();
    ++half;
    between.store(1, base::memory_order_relaxed);
    ++whole;
    mutex.unlock();
  };
  together_until_fork({{"holder", change}, {"waiter", change}}, steps_of_a_change);
  const int before = half - whole;
  int told = 0;
  int inside = 0;
  const auto enter = [&] {
    if (mutex.lock()) ++told;
    ++inside;
    mutex.unlock();
  };
  together({{"first", enter}, {"second", enter}});
  REQUIRE(inside == 2);
  REQUIRE(told <= 1);
  REQUIRE(before == 0 || told == 1);  // an unfinished change is always reported
  const bool is_free = mutex.try_lock();
  REQUIRE(is_free);
  if (is_free) mutex.unlock();
}

SCENARIO(fork_aware_mutex_tried_in_child, 3,
         "a child's try_lock takes a mutex over from a thread of the parent, once") {
  fork_aware_mutex mutex;
  together_until_fork({{"holder",
                        [&] {
                          mutex.lock();
                          mutex.unlock();
                        }}},
                      steps_of_a_change);
  int inside = 0;
  int refused = 0;
  const auto attempt = [&] {
    if (!mutex.try_lock()) {
      mutex.lock();
      ++refused;
      mutex.unlock();
      return;
    }
    ++inside;
    mutex.unlock();
  };
  together({{"first", attempt}, {"second", attempt}});
  REQUIRE(inside >= 1);
  REQUIRE(inside + refused == 2);
}

}  // namespace doorbell::model
