// SPDX-License-Identifier: Apache-2.0
//
// scheduler: runs a scenario's threads one at a time. At each of their operations it asks the strategy for the next
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lock_order.hpp"
#include "memory.hpp"
#include "objects.hpp"
#include "operation.hpp"
#include "schedule.hpp"
#include "strategy.hpp"
#include "thread.hpp"
#include "trace.hpp"

namespace doorbell::model {

/// A thread of a scenario.
struct part {
  std::string_view name;
  std::function<void()> run;
};

class scheduler {
 public:
  /// The only scheduler.
  static scheduler& one();
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;

  /// Runs one execution, from its beginning to its end.
  void execute(strategy& how, void (*body)());
  /// The order of the threads in the current or last execution.
  [[nodiscard]] const schedule& taken() const noexcept { return taken_; }
  /// Records the threads' steps in `where`; null: nowhere.
  void set_trace(trace* where) noexcept { trace_ = where; }

  /// From now on, at most `most_older` operations of an execution use an older store of their atomic instead of the
  /// latest. With 0 the values are sequentially consistent.
  void set_weak(unsigned most_older) noexcept { most_older_ = most_older; }

  /// Calls `finish` at the end of this execution, once, to check and restore the state.
  void at_end(void (*finish)());

  // For the threads of the scenario.

  /// Whether an execution is running.
  [[nodiscard]] bool running() const noexcept { return strategy_ != nullptr; }
  [[nodiscard]] thread& current() noexcept { return threads_[current_]; }
  [[nodiscard]] std::span<thread> threads() noexcept { return threads_; }
  /// Returns when the calling thread may execute the operation. No other thread runs until its next operation.
  void step(const operation& next) noexcept;
  /// Lets other threads run first, if there are any.
  void yield() noexcept;
  /// A choice between alternatives that are not threads. @return the number of one, below `alternatives`.
  [[nodiscard]] unsigned pick(unsigned alternatives) noexcept;
  /// The same for the stores of an atomic. 0 is the latest store; it is the only alternative once this execution has
  /// chosen `most_older` older ones.
  [[nodiscard]] unsigned pick_older(unsigned alternatives) noexcept;
  /// Starts threads, and waits until they have ended.
  void together(std::span<const part> parts) noexcept;
  /// Starts threads, and continues as the child of a fork(2) by the calling thread. At the fork each of the threads has
  /// made a number of steps below `steps`, or waits; the search tries all numbers. None of them runs in the child.
  void together_until_fork(std::span<const part> parts, unsigned steps) noexcept;
  /// Starts a background thread. The scenario does not wait for its end. When the scenario has ended, the thread runs
  /// until it rests, and is left there.
  /// @param rests_asleep the thread also rests where it sleeps on a condition variable or a futex.
  void start_in_background(std::string_view name, void (*body)(void*) noexcept, void* argument,
                           bool rests_asleep) noexcept;
  /// Waits until all background threads rest, that is, have no more work.
  void let_background_rest() noexcept;
  /// Waits until all background threads have ended. Their operations happen before the caller's next one.
  void join_background() noexcept;
  /// How many background threads have been started.
  [[nodiscard]] std::size_t in_background() const noexcept;
  /// Calls `finish` once, when this execution's scenario has ended and no background thread runs. It runs as code under
  /// test, to free objects of the background threads.
  void before_end(void (*finish)());

  // For the seam, which executes a thread's operation.

  [[nodiscard]] bool is_weak() const noexcept { return most_older_ > 0; }
  [[nodiscard]] object& object_at(const void* at) noexcept { return objects_.find(memory_.first_mapping_of(at)); }
  void new_object(const void* at) noexcept { objects_.forget(memory_.first_mapping_of(at)); }
  /// The operations that the current thread has executed so far precede later operations of others on `what`.
  void leave(const void* what) noexcept { strategy_->leaves(current(), objects_.find(what)); }
  [[nodiscard]] accessor who() noexcept { return {current_, current().happened}; }
  [[nodiscard]] memory& all_memory() noexcept { return memory_; }
  [[nodiscard]] lock_order& locks() noexcept { return lock_order_; }
  [[nodiscard]] bool has_trace() const noexcept { return trace_ != nullptr; }
  /// Records the effect of the operation. Only with a trace.
  void tell(const std::string& what) { trace_->tell(what); }

 private:
  scheduler() = default;

  void begin(thread& made, std::string_view name, const std::function<void()>& body);
  [[nodiscard]] thread& free_thread() noexcept;
  void end_background() noexcept;
  void stop_for_ever(thread& me) noexcept;
  void run_thread(thread& me) noexcept;
  void take_step(thread& me) noexcept;
  [[nodiscard]] thread_id next() noexcept;
  [[noreturn]] void stuck() noexcept;
  void switch_to(thread_id next) noexcept;

  std::array<thread, max_threads> threads_;
  thread_locals outside_;
  memory memory_;
  objects objects_;
  lock_order lock_order_;
  schedule taken_;
  std::vector<void (*)()> finishers_;
  std::vector<void (*)()> last_calls_;
  trace* trace_ = nullptr;
  strategy* strategy_ = nullptr;
  thread_id current_ = 0;
  thread_id previous_ = 0;
  thread_id next_ = 0;
  unsigned alive_ = 0;
  unsigned steps_ = 0;
  unsigned most_older_ = 0;
  unsigned older_ = 0;  // so far
};

}  // namespace doorbell::model
