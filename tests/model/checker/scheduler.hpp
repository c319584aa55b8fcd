// SPDX-License-Identifier: Apache-2.0
//
// scheduler: runs a scenario's threads one at a time, and at each of their operations asks the strategy for the next
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
  /// The only one.
  static scheduler& one();
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;

  /// One execution, from its beginning to its end.
  void execute(strategy& how, void (*body)());
  /// The order of the threads in the execution that runs or has run.
  [[nodiscard]] const schedule& taken() const noexcept { return taken_; }
  /// Records the steps of the threads; null: none.
  void set_trace(trace* where) noexcept { trace_ = where; }

  /// From now on as many operations of an execution as this take an older store of their atomic for the latest. With 0
  /// the values are sequentially consistent.
  void set_weak(unsigned most_older) noexcept { most_older_ = most_older; }

  /// Calls `finish` at the end of this execution, once, to check and restore the state.
  void at_end(void (*finish)());

  // For the threads of the scenario.

  /// Whether one runs.
  [[nodiscard]] bool running() const noexcept { return strategy_ != nullptr; }
  [[nodiscard]] thread& current() noexcept { return threads_[current_]; }
  [[nodiscard]] std::span<thread> threads() noexcept { return threads_; }
  /// Returns when the calling thread may carry the operation out; until its next one no other thread runs.
  void step(const operation& next) noexcept;
  /// Lets other threads run first, if there are any.
  void yield() noexcept;
  /// A choice that is not about threads. @return an alternative, below their number.
  [[nodiscard]] unsigned pick(unsigned alternatives) noexcept;
  /// The same for the stores of an atomic: 0 is the latest, and the only alternative when enough older ones were taken.
  [[nodiscard]] unsigned pick_older(unsigned alternatives) noexcept;
  /// Starts threads, and waits for them.
  void together(std::span<const part> parts) noexcept;
  /// The same until a fork(2) by the calling thread: each of the others has made a number of steps by then, below
  /// `steps`, all of which are tried, or waits for ever. The execution then continues as the child, in which none of
  /// them runs.
  void together_until_fork(std::span<const part> parts, unsigned steps) noexcept;
  /// Starts a thread that is not waited for. When the scenario has ended it runs until it rests, and is left there.
  /// @param rests_asleep it rests where it sleeps on a condition variable or a futex, too.
  void start_in_background(std::string_view name, void (*body)(void*) noexcept, void* argument,
                           bool rests_asleep) noexcept;
  /// Waits until all of those rest, that is, until their work is done.
  void let_background_rest() noexcept;
  /// Waits until all of those have ended: their operations happen before the caller's next one.
  void join_background() noexcept;
  /// How many of those have been started.
  [[nodiscard]] std::size_t in_background() const noexcept;
  /// Calls `finish`, once, when this execution's scenario has ended and the background threads are gone: as code under
  /// test, to free their objects.
  void before_end(void (*finish)());

  // For the code that carries out its operation.

  [[nodiscard]] bool is_weak() const noexcept { return most_older_ > 0; }
  [[nodiscard]] object& object_at(const void* at) noexcept { return objects_.find(memory_.first_mapping_of(at)); }
  void new_object(const void* at) noexcept { objects_.forget(memory_.first_mapping_of(at)); }
  /// Orders what the current thread has done before later operations of other threads on `what`.
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
