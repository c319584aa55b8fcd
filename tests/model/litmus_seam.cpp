// SPDX-License-Identifier: Apache-2.0
//
// Litmus tests of the replacements of locks, futexes, RCU and threads: which orders they establish in weak memory, and
// which they do not.
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/rcu.hpp>

#include <cstdint>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::memory_order_relaxed;
using base::rcu_read_guard;
using base::rcu_synchronize;
using variable = base::atomic<int>;

}  // namespace

LITMUS(litmus_mutex, "00 11", "a value that was stored under a mutex is seen by a later holder") {
  base::mutex lock;
  bool there = false;
  variable data{0};
  int saw_it = 0;
  int read = 0;
  together({{"writer",
             [&] {
               const base::mutex_lock held{lock};
               data.store(1, memory_order_relaxed);
               there = true;
             }},
            {"reader", [&] {
               const base::mutex_lock held{lock};
               saw_it = there ? 1 : 0;
               read = data.load(memory_order_relaxed);
             }}});
  outcome({saw_it, read});
}

LITMUS(litmus_threads, "12",
       "a thread sees everything before its start, and a thread that joins it sees everything that it did") {
  variable data{0};
  data.store(1, memory_order_relaxed);
  int read = 0;
  together({{"thread", [&] {
               read = data.load(memory_order_relaxed);
               data.store(2, memory_order_relaxed);
             }}});
  outcome({read, data.load(memory_order_relaxed)});
}

LITMUS(litmus_futex, "0 1",
       "a futex compares the latest value, so no wakeup is lost; but it orders no other memory accesses") {
  base::atomic<std::uint32_t> word{0};
  variable data{0};
  int read = 0;
  together({{"waker",
             [&] {
               data.store(1, memory_order_relaxed);
               word.store(1, memory_order_relaxed);
               base::futex_wake_all(&word);
             }},
            {"sleeper", [&] {
               while (word.load(memory_order_relaxed) == 0) base::futex_wait(word, 0);
               read = data.load(memory_order_relaxed);
             }}});
  outcome({read});
}

LITMUS(litmus_rcu_mp, "00 01 11", "a section that sees a store after a grace period sees the stores before it") {
  variable before{0};
  variable after{0};
  int first = 0;
  int second = 0;
  together({{"updater",
             [&] {
               before.store(1, memory_order_relaxed);
               rcu_synchronize();
               after.store(1, memory_order_relaxed);
             }},
            {"reader", [&] {
               const rcu_read_guard reading;
               first = after.load(memory_order_relaxed);
               second = before.load(memory_order_relaxed);
             }}});
  outcome({first, second});
}

LITMUS(litmus_rcu_mp_reversed, "00 10 11",
       "a section that misses a store before a grace period also misses the stores after it") {
  variable before{0};
  variable after{0};
  int first = 0;
  int second = 0;
  together({{"updater",
             [&] {
               before.store(1, memory_order_relaxed);
               rcu_synchronize();
               after.store(1, memory_order_relaxed);
             }},
            {"reader", [&] {
               const rcu_read_guard reading;
               first = before.load(memory_order_relaxed);
               second = after.load(memory_order_relaxed);
             }}});
  outcome({first, second});
}

LITMUS(litmus_rcu_sb, "01 10 11", "an updater sees a section's store, or the section sees the updater's") {
  variable x{0};
  variable y{0};
  int first = 0;
  int second = 0;
  together({{"updater",
             [&] {
               x.store(1, memory_order_relaxed);
               rcu_synchronize();
               first = y.load(memory_order_relaxed);
             }},
            {"reader", [&] {
               const rcu_read_guard reading;
               y.store(1, memory_order_relaxed);
               second = x.load(memory_order_relaxed);
             }}});
  outcome({first, second});
}

}  // namespace doorbell::model
