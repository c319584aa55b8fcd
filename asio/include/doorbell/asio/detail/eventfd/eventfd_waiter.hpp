// SPDX-License-Identifier: Apache-2.0
//
// eventfd_waiter: an entry on an eventfd's wait queue that makes an event loop execute the operations that wait for the
// eventfd.
//
// While operations wait and the eventfd is not ready for any of them, the waiter is *armed*: its entry is on the queue.
// The wake function removes the entry and posts one call of look() to the loop. look() executes the operations that it
// can, and arms again if operations still wait. Between a wakeup and its look(), signals therefore find no entry of
// this waiter and cost one atomic operation each. However many signals arrive, the loop is woken once. The number of
// signals is in the count, not in the wakeup.
//
//   idle --start--> armed --wakeup--> posted --look()--> idle, or armed again
//     \____________start, ready already____^
//
// Arming checks the count under the queue lock, so an earlier signal is seen, and a later one finds the entry.
//
// Writes are executed in the order in which they were started: a write that does not fit delays the later ones.
// Otherwise small writes could prevent a large one from ever fitting. If the first write is cancelled, the next one
// must therefore be checked, since no wakeup is due for it.
//
// Locks, outermost first: mutex_, then the queue lock, then the locks of the executor's post() (a mutex of its own, and
// a write to wake the loop). The wake function runs with the queue lock held. It never takes mutex_, and it defers the
// post until the queue lock has been released, because the loop that it wakes needs that lock immediately. The order
// has no cycle: Asio's executors neither call nor destroy handlers while they hold their locks. A call of this layer
// from a callback, with the lock of another queue held, would break the order; such calls fail.
//
// Memory ordering: posted_ is relaxed; post() synchronizes with look(). The signaller's earlier writes are acquired
// with the count, when it is read.
//
// Lifetime: shared by the I/O object, which closes it, and by the posted calls of look(). A function object in a
// cancellation slot may keep the memory after the end of the execution context; the waiter is closed then.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>
#include <utility>

#include <doorbell/asio/detail/eventfd/eventfd_op.hpp>
#include <doorbell/asio/detail/eventfd/eventfd_service.hpp>
#include <doorbell/asio/detail/support/context_of.hpp>
#include <doorbell/asio/detail/support/handler_work.hpp>
#include <doorbell/asio/detail/support/pending_posts.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/thread_annotations.hpp>
#include <doorbell/base/wait_queue.hpp>
#include <doorbell/base/walk_scope.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio::detail {

class eventfd_waiter : public std::enable_shared_from_this<eventfd_waiter>,
                       public eventfd_service::client,
                       private base::wait_entry {
 public:
  [[nodiscard]] eventfd_ctx& ctx() const noexcept { return *ctx_; }

  /// Takes ownership of the operation until look(), cancel(), close() or shut_down() ends it. Its handler is called
  /// from the loop.
  void start(eventfd_op& op) {
    {
      const base::mutex_lock held{mutex_};
      if (enqueue(op)) return;
    }
    op.fail(boost::asio::error::bad_descriptor);
    op.post();
  }

  /// As start(), except that an operation is executed inline if no other operation waits and the eventfd is ready. Its
  /// effect then does not depend on the loop. If all operations on an eventfd are started this way, an operation waits
  /// only while the count is 0.
  void start_or_finish(eventfd_op& op) {
    {
      const base::walk_scope scope;
      const base::mutex_lock held{mutex_};
      const bool is_finished = !closed_ && waiting_.empty() && op.attempt(*ctx_, hung_up_);
      if (!is_finished && enqueue(op)) return;
      if (!is_finished) op.fail(boost::asio::error::bad_descriptor);
    }
    op.post();
  }

  /// Calls `step(ctx, finish)`. `finish(n)` completes the first n waiting operations as if the eventfd were ready for
  /// them, and returns the number of operations completed. No other operation starts, ends or is cancelled meanwhile.
  template <class Step>
  void change(const Step& step) {
    eventfd_op_list finished;
    {
      const base::walk_scope scope;
      const base::mutex_lock held{mutex_};
      step(*ctx_, first_of_waiting{*this, finished});
    }
    post_all(finished);
  }

  /// A key for the operations that are bound to one cancellation slot. It is unique among the operations of this
  /// object.
  [[nodiscard]] std::uint64_t make_cancellation_key() noexcept {
    return last_key_.fetch_add(1, base::memory_order_relaxed) + 1;
  }

  /// Ends all waiting operations, or those with that key, with operation_aborted.
  void cancel() {
    eventfd_op_list ended;
    {
      const base::mutex_lock held{mutex_};
      ended.swap(waiting_);
      disarm();
    }
    abort(ended);
  }
  void cancel(std::uint64_t key) {
    eventfd_op_list ended;
    {
      const base::mutex_lock held{mutex_};
      take_keyed(key, ended);
      if (waiting_.empty())
        disarm();
      else if (has_write(ended))
        arm_for_those_behind();
    }
    abort(ended);
  }

  /// Closes the waiter and cancels the waiting operations. No wake function runs after it has returned.
  void close() {
    eventfd_op_list ended;
    if (!end(ended)) return;
    posts_.wait_for_none();
    service_.remove(*this);
    abort(ended);
  }

 protected:
  eventfd_waiter(eventfd_service& service, eventfd_ctx& ctx) noexcept
      : wait_entry{&eventfd_waiter::on_wake}, service_{service}, ctx_{&ctx} {}
  ~eventfd_waiter() = default;

  /// Posts a call of look() to the executor.
  virtual void post_look() = 0;

  /// Called by the loop once for each post_look(). Executes the operations for which the eventfd is ready.
  void look() {
    eventfd_op_list finished;
    {
      const base::walk_scope scope;  // work that wake functions defer runs at its end, when mutex_ has been released
      const base::mutex_lock held{mutex_};
      do attempt_all(finished);
      while (!waiting_.empty() && !arm_for_all());
      if (waiting_.empty()) posted_.store(false, base::memory_order_relaxed);
    }
    deliver(finished);
  }

 private:
  class first_of_waiting {
   public:
    first_of_waiting(eventfd_waiter& waiter, eventfd_op_list& finished) noexcept
        : waiter_{waiter}, finished_{finished} {}
    // The analysis cannot see that change() holds the mutex.
    std::size_t operator()(std::size_t most) const noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
      return waiter_.take_first_of_waiting(most, finished_);
    }

   private:
    eventfd_waiter& waiter_;
    eventfd_op_list& finished_;
  };

  /// @return false if the waiter is closed.
  [[nodiscard]] bool enqueue(eventfd_op& op) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) return false;
    waiting_.push_back(op);
    if (!posted_.load(base::memory_order_relaxed) && !arm(op.interest())) wake_loop();
    return true;
  }

  static int on_wake(wait_entry& entry, unsigned events) noexcept {
    auto& self = static_cast<eventfd_waiter&>(entry);
    self.ctx_->assert_held();  // equivalent fault: it tells the compiler's analysis, and has no code
    // equivalent fault (constant): only a negative answer counts for an entry that is not exclusive
    if (!(events & POLLHUP) && !self.is_ready()) return 0;
    self.unhook();
    self.posted_.store(true, base::memory_order_relaxed);
    self.posts_.begin();
    eventfd_ctx::after_callback(&eventfd_waiter::post_later, &self);
    return 0;  // equivalent fault (constant): as above
  }

  static void post_later(void* waiter, std::uint64_t /*argument*/) noexcept {
    auto& self = *static_cast<eventfd_waiter*>(waiter);
    self.wake_loop();
    self.posts_.end();
  }

  // If memory is exhausted, the program ends: a wakeup must not be lost silently.
  void wake_loop() noexcept { post_look(); }

  [[nodiscard]] bool is_ready() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(ctx_) {
    return interest_.is_met(*ctx_);
  }

  // Removes the entry and releases the entry's share of the memory; ctx_ holds a reference. release_share() cannot
  // report the last share: it does so only after the walk of the last close, and that walk has removed the entry.
  void unhook() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(ctx_) {
    ctx_->detach(*this);
    [[maybe_unused]] const bool last = ctx_->release_share();
    assert(!last);
  }

  /// Arms for `wanted`, in addition to the conditions that the entry is armed for.
  /// @return false if operations can be executed now. posted_ is then set, and the caller must execute them or post
  /// look().
  [[nodiscard]] bool arm(const eventfd_interest& wanted) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const eventfd_ctx_lock queue{*ctx_};
    // equivalent fault (dropped): look() is called once more and finds nothing to do
    if (posted_.load(base::memory_order_relaxed)) return true;  // a wake function has run, and posts look()
    if (!linked()) interest_ = {};
    interest_.add(wanted);
    const bool open = linked() || attach();  // even if the eventfd is ready: attach() detects a hang-up
    if (open && !is_ready()) return true;
    if (linked()) unhook();
    posted_.store(true, base::memory_order_relaxed);
    return false;
  }

  /// Arms for all waiting operations. @return false if the caller must execute them first.
  [[nodiscard]] bool arm_for_all() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    eventfd_interest wanted;
    for (const auto& op : waiting_) wanted.add(op.interest());
    posted_.store(false, base::memory_order_relaxed);
    return arm(wanted);
  }

  // The entry was armed for the write that was cancelled. After disarm(), no wake function sets posted_.
  void arm_for_those_behind() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    disarm();
    if (!posted_.load(base::memory_order_relaxed) && !arm_for_all()) wake_loop();
  }

  [[nodiscard]] bool attach() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_, ctx_) {
    if (ctx_->attach(*this)) return true;
    hung_up_ = true;
    return false;
  }

  void disarm() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const eventfd_ctx_lock queue{*ctx_};
    if (linked()) unhook();
  }

  // In the order in which they were started, so that reads and writes are served fairly. The wake functions of the
  // queue run here, with mutex_ held. None of them can take mutex_, since calls of this layer fail in a callback.
  void attempt_all(eventfd_op_list& finished) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool a_write_waits = false;
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      auto& op = *at;
      const bool is_behind = a_write_waits && op.is_write();
      if (is_behind || !op.attempt(*ctx_, hung_up_)) {
        a_write_waits |= op.is_write();
        ++at;
        continue;
      }
      at = waiting_.erase(at);
      finished.push_back(op);
    }
  }

  void take_keyed(std::uint64_t key, eventfd_op_list& taken) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      auto& op = *at++;
      if (op.cancellation_key() == key) move_to(taken, op);
    }
  }

  std::size_t take_first_of_waiting(std::size_t most, eventfd_op_list& taken) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::size_t count = 0;
    for (; count < most && !waiting_.empty(); ++count) move_to(taken, waiting_.front());
    if (count > 0 && waiting_.empty()) disarm();
    return count;
  }

  void move_to(eventfd_op_list& taken, eventfd_op& op) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    waiting_.erase(waiting_.iterator_to(op));
    taken.push_back(op);
  }

  [[nodiscard]] static bool has_write(const eventfd_op_list& ops) noexcept {
    return std::any_of(ops.begin(), ops.end(), [](const eventfd_op& op) { return op.is_write(); });
  }

  /// @return false if the waiter was closed before.
  bool end(eventfd_op_list& ended) {
    const base::mutex_lock held{mutex_};
    ended.swap(waiting_);
    disarm();
    return !std::exchange(closed_, true);
  }

  static void abort(eventfd_op_list& ops) {
    for (auto& op : ops) op.fail(boost::asio::error::operation_aborted);
    post_all(ops);
  }

  static void post_all(eventfd_op_list& ops) {
    while (!ops.empty()) take_first(ops).post();
  }

  // The first handler may be called inline and may throw. Therefore the others are posted before it.
  static void deliver(eventfd_op_list& ops) {
    if (ops.empty()) return;
    auto& first = take_first(ops);
    post_all(ops);
    first.dispatch();
  }

  [[nodiscard]] static eventfd_op& take_first(eventfd_op_list& ops) noexcept {
    auto& first = ops.front();
    ops.pop_front();
    return first;
  }

  // The handlers' destructors may drop the last other reference to *this.
  void shut_down() override {
    const auto self = shared_from_this();
    eventfd_op_list ended;
    end(ended);
    posts_.wait_for_none();
    while (!ended.empty()) take_first(ended).destroy();
  }

  eventfd_service& service_;
  const eventfd_ctx_ptr ctx_;

  base::mutex mutex_;
  eventfd_op_list waiting_ DOORBELL_GUARDED_BY(mutex_);
  bool closed_ DOORBELL_GUARDED_BY(mutex_) = false;
  bool hung_up_ DOORBELL_GUARDED_BY(mutex_) = false;  // set when the entry could not be attached

  // Set with the queue lock held by the wake function, which runs only while the entry is linked; otherwise written
  // with mutex_ held. So if a thread holds mutex_ and finds posted_ set, or the entry not linked, no other thread
  // changes them.
  base::atomic<bool> posted_{false};
  pending_posts posts_;
  base::atomic<std::uint64_t> last_key_{0};

  eventfd_interest interest_
      DOORBELL_GUARDED_BY(ctx_);  // of all waiting operations; possibly also of cancelled waits and reads
};

/// A waiter that posts look() to an executor.
template <class Executor>
class eventfd_waiter_on final : public eventfd_waiter {
 public:
  /// @param executor its execution context ends the waiter at shutdown.
  [[nodiscard]] static std::shared_ptr<eventfd_waiter_on> make(const Executor& executor, eventfd_ctx& ctx) {
    auto& service = boost::asio::use_service<eventfd_service>(context_of(executor));
    auto made = std::make_shared<eventfd_waiter_on>(key{}, executor, service, ctx);
    service.add(*made);
    return made;
  }

 private:
  struct key {};

 public:
  eventfd_waiter_on(key, Executor executor, eventfd_service& service, eventfd_ctx& ctx) noexcept
      : eventfd_waiter{service, ctx}, executor_{std::move(executor)} {}

 private:
  void post_look() override {
    post_to(executor_, [self = std::static_pointer_cast<eventfd_waiter_on>(shared_from_this())] { self->look(); });
  }

  const Executor executor_;
};

}  // namespace doorbell::asio::detail
