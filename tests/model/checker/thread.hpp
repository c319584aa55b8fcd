// SPDX-License-Identifier: Apache-2.0
//
// thread: one of a scenario's threads, which is a fiber of the model checker's only real thread.
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
  std::function<void()> own_body;  // of one in the background
  bool in_background = false;      // its end is not waited for, and need not come
  bool in_parent_only = false;     // gone after the fork, wherever it is then
  bool rests_asleep = false;       // of one in the background: while it sleeps, it waits for something to do

  boost::context::fiber fiber;  // where it goes on
  boost::context::fiber host;   // where the code that switches threads goes on, while it runs
  thread_locals locals;

  operation pending;  // its next operation
  bool finished = false;
  bool yielded = false;     // others first
  unsigned steps_left = 0;  // of one that exists only in the parent

  vector_clock order;     // the operations that its own depend on
  vector_clock happened;  // happens-before, in the sense of C++

  const void* sleeps_on = nullptr;
  bool woken = false;

  unsigned cpu = 0;
  unsigned table = 0;     // of descriptors; its creator's, unless it has entered one of its own
  unsigned sections = 0;  // of RCU, one in the other
  std::uint64_t in_section_since = 0;
  std::vector<const void*> locks;  // the mutexes that it holds

  /// Whether it has nothing to do unless another thread gives it work.
  [[nodiscard]] bool rests() const noexcept {
    const bool may_rest = pending.rests || (rests_asleep && pending.sleeps);
    return finished || (may_rest && pending.ready != nullptr && !pending.ready(pending.asked));
  }
};

}  // namespace doorbell::model
