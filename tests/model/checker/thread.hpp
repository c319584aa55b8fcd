// SPDX-License-Identifier: Apache-2.0
//
// thread: a thread of a scenario, which is a fiber in the model checker's only real thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <boost/context/fiber.hpp>

#include "operation.hpp"
#include "thread_locals.hpp"
#include "vector_clock.hpp"

namespace doorbell::model {

struct thread {
  thread_id id = 0;
  std::string name;
  const std::function<void()>* body = nullptr;
  std::function<void()> own_body;  // of a background thread
  bool in_background = false;      // the scenario does not wait for its end
  bool in_parent_only = false;     // does not exist in the child of the fork
  bool rests_asleep = false;       // of a background thread: it rests while it sleeps

  boost::context::fiber fiber;  // where the thread continues
  boost::context::fiber host;   // where the scheduling loop continues, while the thread runs
  thread_locals locals;

  operation pending;  // its next operation
  bool finished = false;
  bool yielded = false;     // other threads run first
  unsigned steps_left = 0;  // of a thread that exists only in the parent

  vector_clock order;     // the operations on which this thread's operations depend
  vector_clock happened;  // happens-before, in the sense of C++

  const void* sleeps_on = nullptr;
  bool woken = false;

  unsigned cpu = 0;
  unsigned table = 0;     // of descriptors: its creator's, unless it has entered a private one
  unsigned sections = 0;  // nesting depth of RCU read sections
  std::uint64_t in_section_since = 0;
  std::vector<const void*> locks;  // the mutexes that it holds

  /// Whether it has ended, or waits until another thread gives it work.
  [[nodiscard]] bool rests() const noexcept {
    const bool may_rest = pending.rests || (rests_asleep && pending.sleeps);
    return finished || (may_rest && pending.ready != nullptr && !pending.ready(pending.asked));
  }
};

}  // namespace doorbell::model
