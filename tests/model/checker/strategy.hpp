// SPDX-License-Identifier: Apache-2.0
//
// strategy: chooses the next thread. One strategy serves all executions of an exploration.
#pragma once

#include <span>

#include "objects.hpp"
#include "thread.hpp"
#include "vector_clock.hpp"

namespace doorbell::model {

/// The threads that may run next; at least one.
struct candidates {
  thread_mask ready;
  thread_mask timed;  ///< may run if their timeout expires now
  thread_id previous;

  [[nodiscard]] thread_mask all() const noexcept { return ready | timed; }
  /// Whether the previous thread could continue and is switched away from.
  [[nodiscard]] bool is_preemption(thread_id next) const noexcept {
    return next != previous && (ready & only(previous)) != 0;
  }
  /// The default: the previous thread as long as it can continue.
  [[nodiscard]] thread_id by_default() const noexcept {
    if (ready & only(previous)) return previous;
    return static_cast<thread_id>(__builtin_ctz(ready != 0 ? ready : timed));
  }
};

class strategy {
 public:
  strategy() = default;
  strategy(const strategy&) = delete;
  strategy& operator=(const strategy&) = delete;
  virtual ~strategy() = default;

  /// Called when an execution begins.
  virtual void begin() {}
  [[nodiscard]] virtual thread_id choose(const candidates& who) = 0;
  [[nodiscard]] virtual unsigned pick(unsigned alternatives) = 0;

  /// A thread has reached its next operation.
  virtual void announced(std::span<thread> /*threads*/, thread& /*who*/, objects& /*all*/) {}
  /// The chosen thread is about to execute its operation.
  virtual void steps(std::span<thread> /*threads*/, thread& /*who*/, objects& /*all*/) {}
  /// All operations of a thread so far precede later operations of other threads on `what`.
  virtual void leaves(const thread& /*who*/, object& /*what*/) {}
};

}  // namespace doorbell::model
