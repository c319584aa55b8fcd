// SPDX-License-Identifier: Apache-2.0
//
// strategy: chooses the next thread. There is one for an exploration, which runs a scenario repeatedly.
#pragma once

#include <span>

#include "objects.hpp"
#include "thread.hpp"
#include "vector_clock.hpp"

namespace doorbell::model {

/// The threads that could go next; at least one.
struct candidates {
  thread_mask ready;
  thread_mask timed;  ///< if their time is up now
  thread_id previous;

  [[nodiscard]] thread_mask all() const noexcept { return ready | timed; }
  /// Whether the previous thread, which could continue, would have to wait for this one.
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

  /// An execution begins.
  virtual void begin() {}
  [[nodiscard]] virtual thread_id choose(const candidates& who) = 0;
  [[nodiscard]] virtual unsigned pick(unsigned alternatives) = 0;

  /// A thread has come to its next operation.
  virtual void announced(std::span<thread> /*threads*/, thread& /*who*/, objects& /*all*/) {}
  /// The one that has been chosen is about to carry it out.
  virtual void steps(std::span<thread> /*threads*/, thread& /*who*/, objects& /*all*/) {}
  /// All operations of a thread so far come before later ones of others on `what`.
  virtual void leaves(const thread& /*who*/, object& /*what*/) {}
};

}  // namespace doorbell::model
