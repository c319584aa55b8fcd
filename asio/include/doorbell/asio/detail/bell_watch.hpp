// SPDX-License-Identifier: Apache-2.0
//
// bell_watch: an entry on an eventfd's wait queue that has an event loop carry out what waits for the eventfd.
//
// While operations wait and the eventfd is not ready for any of them, the watch is *armed*: its entry is on the queue.
// The wake function takes the entry off again and posts one *look* to the loop, which carries out what it can and arms
// anew if something still waits. So between a wake and its look, signals meet an empty queue and cost one atomic
// operation each; however many come, the loop is woken once; and the count, not the wake, says how many they were.
//
//   idle --start--> armed --wake--> posted --look--> idle, or armed again
//     \___________start, ready already____^
//
// Arming looks at the count under the queue's lock, so a signal before it is seen, and one after it finds the entry.
//
// Writes are carried out in the order they came: one that does not fit holds up those behind it, or small ones could
// keep a large one from ever fitting. So when it is cancelled, the next one has to be looked at: no wake comes for it.
//
// Locks, outermost first: mutex_, then the queue's lock, then whatever the executor's post() takes (a mutex of its own,
// and a write to wake the loop). The wake function comes from the middle: it holds the queue's lock, never takes mutex_, and
// leaves the post for when the lock is let go: the loop that it wakes wants that lock at once. No circle: Asio's executors
// call nobody with their locks held, nor destroy handlers there, so nobody comes from inside to the outside. The one way to
// break it would be to come in from some other callback, with a queue's lock held: that is refused.
//
// Memory ordering: posted_ is relaxed; it goes with a post(), which is the edge to the look. What the signaller did before
// it signalled is acquired with the count, when that is read.
//
// Lifetime: shared by the I/O object, which closes it, and by the looks that are posted. Its memory may outlive the
// execution context's end in a cancellation slot, which finds it closed.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>
#include <utility>

#include <doorbell/asio/detail/bell_op.hpp>
#include <doorbell/asio/detail/bell_service.hpp>
#include <doorbell/asio/detail/context_of.hpp>
#include <doorbell/asio/detail/handler_place.hpp>
#include <doorbell/asio/detail/pending_posts.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/thread_annotations.hpp>
#include <doorbell/base/wait_queue.hpp>
#include <doorbell/base/walk_scope.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell::asio::detail {

class bell_watch : public std::enable_shared_from_this<bell_watch>,
                   public bell_service::client,
                   private base::wait_entry {
 public:
  [[nodiscard]] eventfd_ctx& ctx() const noexcept { return *ctx_; }

  /// Takes the operation over: it ends here, or by cancel(), close() or shut_down(). Its handler is called from the loop.
  void start(bell_op& op) {
    {
      const base::mutex_lock held{mutex_};
      if (enqueue(op)) return;
    }
    op.fail(boost::asio::error::bad_descriptor);
    op.post();
  }

  /// The same, except that an operation that no other is before, and that can be carried out now, is: it needs no look,
  /// and so not the loop. Of an eventfd on which all operations are started so, one only waits while the count is 0.
  void start_or_finish(bell_op& op) {
    {
      const base::walk_scope scope;
      const base::mutex_lock held{mutex_};
      const bool is_finished = !closed_ && waiting_.empty() && op.attempt(*ctx_, hung_up_);
      if (!is_finished && enqueue(op)) return;
      if (!is_finished) op.fail(boost::asio::error::bad_descriptor);
    }
    op.post();
  }

  /// Calls `step(ctx, finish)`, where `finish(n)` finishes the first n operations that wait as if the eventfd were
  /// ready for them, and returns how many they were. No operation starts, ends or is cancelled during the step.
  template <class Step>
  void change(const Step& step) {
    bell_op_list finished;
    {
      const base::walk_scope scope;
      const base::mutex_lock held{mutex_};
      step(*ctx_, first_of_waiting{*this, finished});
    }
    post_all(finished);
  }

  /// A key for operations that are bound to a cancellation slot, which no other operations of this eventfd have.
  [[nodiscard]] std::uint64_t make_cancellation_key() noexcept {
    return last_key_.fetch_add(1, base::memory_order_relaxed) + 1;
  }

  /// Ends the operations that wait, or those with that key, with operation_aborted.
  void cancel() {
    bell_op_list ended;
    {
      const base::mutex_lock held{mutex_};
      ended.swap(waiting_);
      disarm();
    }
    abort(ended);
  }
  void cancel(std::uint64_t key) {
    bell_op_list ended;
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

  /// Ends the watch: no wake function runs after it, and what waits is cancelled.
  void close() {
    bell_op_list ended;
    if (!end(ended)) return;
    posts_.wait_for_none();
    service_.remove(*this);
    abort(ended);
  }

 protected:
  bell_watch(bell_service& service, eventfd_ctx& ctx) noexcept
      : wait_entry{&bell_watch::on_wake}, service_{service}, ctx_{&ctx} {}
  ~bell_watch() = default;

  /// Posts a call of look() to the executor.
  virtual void post_look() = 0;

  /// In the loop, once for each post_look(): carries out what can be.
  void look() {
    bell_op_list finished;
    {
      const base::walk_scope scope;  // what wake functions defer runs without mutex_
      const base::mutex_lock held{mutex_};
      do attempt_all(finished);
      while (!waiting_.empty() && !arm_for_all());
      if (waiting_.empty()) posted_.store(false, base::memory_order_relaxed);
    }
    hand_over(finished);
  }

 private:
  class first_of_waiting {
   public:
    first_of_waiting(bell_watch& watch, bell_op_list& finished) noexcept : watch_{watch}, finished_{finished} {}
    // The analysis cannot see that change() holds the mutex.
    std::size_t operator()(std::size_t most) const noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
      return watch_.take_first_of_waiting(most, finished_);
    }

   private:
    bell_watch& watch_;
    bell_op_list& finished_;
  };

  /// @return false: closed.
  [[nodiscard]] bool enqueue(bell_op& op) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) return false;
    waiting_.push_back(op);
    if (!posted_.load(base::memory_order_relaxed) && !arm(op.interest())) wake_loop();
    return true;
  }

  static int on_wake(wait_entry& entry, unsigned events) noexcept {
    auto& self = static_cast<bell_watch&>(entry);
    self.ctx_->assert_held();  // equivalent fault: it tells the compiler's analysis, and has no code
    // equivalent fault (constant): only a negative answer counts for an entry that is not exclusive
    if (!(events & POLLHUP) && !self.is_ready()) return 0;
    self.unhook();
    self.posted_.store(true, base::memory_order_relaxed);
    self.posts_.begin();
    eventfd_ctx::after_callback(&bell_watch::post_later, &self);
    return 0;  // equivalent fault (constant): as above
  }

  static void post_later(void* watch, std::uint64_t /*argument*/) noexcept {
    auto& self = *static_cast<bell_watch*>(watch);
    self.wake_loop();
    self.posts_.end();
  }

  // Out of memory ends the program: a wake cannot be lost silently.
  void wake_loop() noexcept { post_look(); }

  [[nodiscard]] bool is_ready() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(ctx_) {
    return interest_.is_met(*ctx_);
  }

  // The entry's share in the memory goes with it: we hold a reference of our own. It cannot be the last one, because who is
  // on the queue has not been hung up on.
  void unhook() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(ctx_) {
    ctx_->detach(*this);
    [[maybe_unused]] const bool last = ctx_->release_share();
    assert(!last);
  }

  /// Arms for `wanted` besides what it is armed for.
  /// @return false: there is something to look at now; posted_ is set, and the caller sees to it.
  [[nodiscard]] bool arm(const bell_interest& wanted) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const eventfd_ctx_lock queue{*ctx_};
    if (posted_.load(base::memory_order_relaxed)) return true;  // a wake was faster, and has posted
    if (!linked()) interest_ = {};
    interest_.add(wanted);
    const bool open = linked() || attach();  // even if it is ready: this is how a hang-up shows
    if (open && !is_ready()) return true;
    if (linked()) unhook();
    posted_.store(true, base::memory_order_relaxed);
    return false;
  }

  /// Arms for what waits, at the end of a look. @return false: look again.
  [[nodiscard]] bool arm_for_all() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bell_interest wanted;
    for (const auto& op : waiting_) wanted.add(op.interest());
    posted_.store(false, base::memory_order_relaxed);
    return arm(wanted);
  }

  // It was armed for the write that has left. Off the queue, nobody changes posted_.
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

  // In the order they came, so that reads and writes are served fairly. The wake functions of the queue run here, under
  // mutex_: none of them may come for it, for calls of this layer are refused in a callback.
  void attempt_all(bell_op_list& finished) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
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

  void take_keyed(std::uint64_t key, bell_op_list& taken) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      auto& op = *at++;
      if (op.cancellation_key() == key) move_to(taken, op);
    }
  }

  std::size_t take_first_of_waiting(std::size_t most, bell_op_list& taken) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::size_t count = 0;
    for (; count < most && !waiting_.empty(); ++count) move_to(taken, waiting_.front());
    if (count > 0 && waiting_.empty()) disarm();
    return count;
  }

  void move_to(bell_op_list& taken, bell_op& op) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    waiting_.erase(waiting_.iterator_to(op));
    taken.push_back(op);
  }

  [[nodiscard]] static bool has_write(const bell_op_list& ops) noexcept {
    return std::any_of(ops.begin(), ops.end(), [](const bell_op& op) { return op.is_write(); });
  }

  /// @return false: it has ended before.
  bool end(bell_op_list& ended) {
    const base::mutex_lock held{mutex_};
    ended.swap(waiting_);
    disarm();
    return !std::exchange(closed_, true);
  }

  static void abort(bell_op_list& ops) {
    for (auto& op : ops) op.fail(boost::asio::error::operation_aborted);
    post_all(ops);
  }

  static void post_all(bell_op_list& ops) {
    while (!ops.empty()) take_first(ops).post();
  }

  // The first handler may be called right here, and may throw: by then the others are on their way.
  static void hand_over(bell_op_list& ops) {
    if (ops.empty()) return;
    auto& first = take_first(ops);
    post_all(ops);
    first.dispatch();
  }

  [[nodiscard]] static bell_op& take_first(bell_op_list& ops) noexcept {
    auto& first = ops.front();
    ops.pop_front();
    return first;
  }

  // The handlers' destructors may drop what holds *this.
  void shut_down() override {
    const auto self = shared_from_this();
    bell_op_list ended;
    end(ended);
    posts_.wait_for_none();
    while (!ended.empty()) take_first(ended).destroy();
  }

  bell_service& service_;
  const eventfd_ctx_ptr ctx_;

  base::mutex mutex_;
  bell_op_list waiting_ DOORBELL_GUARDED_BY(mutex_);
  bool closed_ DOORBELL_GUARDED_BY(mutex_) = false;
  bool hung_up_ DOORBELL_GUARDED_BY(mutex_) = false;  // found out when it could not be armed

  // Set under the queue's lock by the wake function, which only an armed watch has; else under mutex_. So whoever holds
  // mutex_ and finds it set, or the entry not linked, knows that nobody changes them.
  base::atomic<bool> posted_{false};
  pending_posts posts_;
  base::atomic<std::uint64_t> last_key_{0};

  bell_interest interest_
      DOORBELL_GUARDED_BY(ctx_);  // of all that waits; perhaps of waits and reads that have left, too
};

/// A watch whose looks are posted to an executor.
template <class Executor>
class bell_watch_on final : public bell_watch {
 public:
  /// @param executor whose execution context ends the watch when it is shut down.
  [[nodiscard]] static std::shared_ptr<bell_watch_on> make(const Executor& executor, eventfd_ctx& ctx) {
    auto& service = boost::asio::use_service<bell_service>(context_of(executor));
    auto made = std::make_shared<bell_watch_on>(key{}, executor, service, ctx);
    service.add(*made);
    return made;
  }

 private:
  struct key {};

 public:
  bell_watch_on(key, Executor executor, bell_service& service, eventfd_ctx& ctx) noexcept
      : bell_watch{service, ctx}, executor_{std::move(executor)} {}

 private:
  void post_look() override {
    post_to(executor_, [self = std::static_pointer_cast<bell_watch_on>(shared_from_this())] { self->look(); });
  }

  const Executor executor_;
};

}  // namespace doorbell::asio::detail
