// SPDX-License-Identifier: Apache-2.0
//
// file_proactor: submits file operations to an aio::context and completes them, in the threads that run the loop. No
// other thread takes part, unless the engine has worker threads. The derived class connects it to the loop.
//
//   stream queue (streams only) --> ready --turn: submitted--> in flight --turn: event--> ended, posted or called
//
// A *turn* submits the ready operations and reaps events. It runs in two cases. First, the start of an operation posts
// a turn, unless one is posted, so that one call submits all operations started before it. Second, a turn runs when the
// context's descriptor becomes readable. The loop waits for the descriptor only while operations are in flight. So an
// operation that has completed when submit returns needs only the turn that submits it.
//
// The loop counts a turn as one handler. So a turn calls one completion handler at most and posts the others: run_one()
// runs one handler, stop() takes effect after the handler that called it, and handlers that were posted earlier run
// earlier.
//
// The next turn submits all operations that handlers start, with one call. If only one handler runs
// (sole_handler_scope), there is no other operation to submit its first operation with. The initiating function
// therefore submits this operation, or executes it if it reads bytes in memory, and only its handler is posted. This
// saves one round of the loop.
//
// Operations that do not fit into the context stay ready. The turn of the next events submits them.
//
//   turn                                 starter
//   no turn is posted now; submits the ready operations
//                                        one more is ready: posts a turn, unless one is posted
//
//   legal:     a posted turn has not begun, and finds the operation. A starter that is the only handler may submit the
//              operation itself, while it holds mutex_, and checks whether it has completed.
//   forbidden: an operation is ready, none is in flight, and no turn is due.
//
//   turn                                 the engine
//   reaps: no events
//                                        completes a request: an edge, while the loop does not wait for one
//   operations are in flight: waits for the descriptor
//
//   legal:     the wait reports that the descriptor is readable already, so the next turn runs. With busy polling, a
//              turn posts the next turn instead of waiting, until the polling time has passed.
//   forbidden: operations are in flight, the loop does not wait for the descriptor, and no turn is due.
//
//   canceller                            turn
//   the operation is in flight: asks the engine to cancel it
//                                        reaps its event: removes it, completes it
//
//   legal:     an operation in flight ends by its event alone; its state is changed and checked with mutex_ held.
//   forbidden: the canceller ends it as well; or ends it while the engine still uses its buffers.
//
// Locks, outermost first: mutex_, then the locks of the aio::context and of the loop. Neither calls back, since the
// requests signal no eventfd. Handlers, and objects that they own, are called, posted and destroyed with no lock held.
//
// Memory ordering: mutex_. Writes of the kernel and of worker threads to the buffers are acquired with the event.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/asio/detail/file/file_flight.hpp>
#include <doorbell/asio/detail/file/file_op.hpp>
#include <doorbell/asio/detail/file/open_file.hpp>
#include <doorbell/asio/detail/file/sole_handler_scope.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

namespace doorbell::asio::detail {

class file_proactor {
 public:
  file_proactor(const file_proactor&) = delete;
  file_proactor& operator=(const file_proactor&) = delete;

  /// Takes ownership of the operation, whose `file` is set, until it completes, is cancelled, or the execution context
  /// shuts down. Its handler is called from the loop.
  void start(file_op& op) {
    {
      const base::mutex_lock held{mutex_};
      if (!is_shut_down_) {
        const bool is_alone = ready_.empty() && sole_handler_scope::take_first_start(*this);
        if (is_alone && answer_inline(op)) return;
        if (!op.file->enter(op)) return;
        make_ready(op);
        if (!is_alone || !submit_alone()) ask_for_turn();
        return;
      }
    }
    op.destroy();
  }

  /// Executes a read inline, if it does not wait and no earlier operation of its stream is outstanding.
  /// @return the res of its event; nothing if the read had no effect.
  [[nodiscard]] std::optional<std::int64_t> read_inline(open_file& file, aio::iocb& read) {
    const base::mutex_lock held{mutex_};
    std::error_code ec;
    if (is_shut_down_ || !ensure_open(ec)) return std::nullopt;
    return read_inline_locked(file, read);
  }

  /// Calls the handler of an operation that was passed to post_deferred(). Called by a thread that runs the loop.
  static void run_deferred(file_op& ended) {
    auto* const proactor = ended.deferred_by;
    // equivalent fault (negated): decides only whether starts are submitted singly or together
    const bool is_only = proactor->deferred_.fetch_sub(1, base::memory_order_relaxed) == 1;
    const sole_handler_scope here{is_only ? proactor : nullptr};
    ended.dispatch();
  }

  /// For the files, which may outlive this object.
  [[nodiscard]] const proactor_link& link() const noexcept { return link_; }

  /// Ends the operations of a file, or those with that cancellation key, with operation_aborted. An operation in flight
  /// ends after the engine has stopped it; if the engine cannot stop it, it ends with its result.
  void cancel(open_file& file) {
    cancel_if(file, [](const file_op&) { return true; });
  }
  void cancel(open_file& file, std::uint64_t meant) {
    cancel_if(file, [meant](const file_op& op) { return op.cancellation_key() == meant; });
  }

  /// @return whether no operation uses the descriptor of the file.
  [[nodiscard]] bool is_idle(const open_file& file) {
    const base::mutex_lock held{mutex_};
    return file.outstanding.empty();
  }
  /// Gives up ownership of the descriptor. Operations in flight may continue to use it.
  [[nodiscard]] int release(open_file& file) {
    const base::mutex_lock held{mutex_};
    return file.release();
  }

 protected:
  file_proactor() = default;
  ~file_proactor() { *link_ = nullptr; }

  // The connection to the loop, implemented by the derived class. None of these functions calls back.

  /// Posts a call of turn_by_post() to the loop.
  virtual void post_turn() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// @param moved whether an operation has just been submitted or has ended.
  /// @return whether to poll again before the loop sleeps (busy polling).
  virtual bool is_to_look_again(bool moved) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// Posts a call of run_deferred() with this operation to the loop.
  virtual void post_deferred(file_op& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// Sets the descriptor that ask_when_readable() waits for.
  virtual void watch(int descriptor, std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// Makes the loop call turn_when_readable() once, when the descriptor is readable. Counts as outstanding work until
  /// then.
  virtual void ask_when_readable() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// Cancels the wait: the loop calls turn_when_readable() although the descriptor is not readable.
  virtual void stop_asking() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;

  // Called by the loop.

  void turn_by_post() { turn(&file_proactor::turn_is_posted_); }
  void turn_when_readable() { turn(&file_proactor::loop_is_asked_); }

  /// Called when no thread runs the loop any more. Destroys the outstanding operations; operations that are started
  /// later are destroyed too.
  void shut_down() {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      is_shut_down_ = true;
      // After close() the engine uses no buffer any more. Handlers may own buffers, so they are destroyed only then.
      file_op_queue landed = flight_.close();
      collect(ready_, ended);
      collect(landed, ended);
    }
    // The handlers' destructors may close files.
    while (!ended.empty()) take_first(ended).destroy();
  }

  /// Called in the child of a fork. Operations in flight belong to the parent; in the child they end with
  /// operation_aborted. Ready operations are submitted to a new context of the child.
  void begin_anew_in_child() {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      file_op_queue landed = flight_.close();
      while (!landed.empty()) end(take_first(landed), -ECANCELED, ended);
      // equivalent fault (negated): the wait that fork_prepare has cancelled calls a turn, too
      if (!ready_.empty()) ask_for_turn();
    }
    post_all(ended);
  }

  base::mutex mutex_;

 private:
  static constexpr int looks_in_a_row = 8;

  // Starting.

  void make_ready(file_op& op) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    op.where = file_op::place::ready;
    ready_.push_back(op);
  }

  void ask_for_turn() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!std::exchange(turn_is_posted_, true)) post_turn();
  }

  // Executes a read inline, if it does not wait. Its handler is still called from the loop.
  // @return false if the operation had no effect.
  [[nodiscard]] bool answer_inline(file_op& op) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (op.use() != file_use::reads || !flight_.is_open()) return false;
    const auto res = read_inline_locked(*op.file, op.request());
    if (!res) return false;
    op.complete(*res);
    op.file = nullptr;
    defer(op);
    return true;
  }
  [[nodiscard]] std::optional<std::int64_t> read_inline_locked(open_file& file, aio::iocb& read) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!file.begin_inline(read)) return std::nullopt;
    const auto res = flight_.read_inline(read);
    if (res) file.end_inline(read, *res);
    return res;
  }

  // Submits, and posts the handler of an operation that has completed inside submit, since no edge announces it.
  // @return whether no operation is left for a turn.
  [[nodiscard]] bool submit_alone() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    file_op_queue ended;
    advance(ended);
    defer_all_locked(ended);
    return ready_.empty();
  }

  // Posts the operation's handler. deferred_ counts the handlers that are posted and not called yet: if there is no
  // other, this handler is the only one.
  void defer(file_op& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ended.deferred_by = this;
    // equivalent fault (constant): above 0, handlers are deferred, which takes longer
    deferred_.fetch_add(1, base::memory_order_relaxed);
    post_deferred(ended);
  }

  void turn(bool file_proactor::* asked_for) {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      this->*asked_for = false;
      advance(ended);
    }
    call_first(ended);
  }

  // With busy polling, a turn that finds no events polls again, up to looks_in_a_row times: a poll costs less than a
  // round of the loop.
  void advance(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool moved = submit_and_reap(ended);
    for (int more = looks_in_a_row; !moved && more > 0 && is_to_look_again(moved); --more)
      moved = submit_and_reap(ended);
    ask_loop(moved);
  }

  // Submits first, so that a disk does not wait for the rest of the turn. Events make room in the context and may make
  // other operations ready.
  // @return whether an operation was submitted or completed.
  bool submit_and_reap(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool moved = false;
    std::size_t events = 0;
    do {
      while (!ready_.empty() && submit(ended)) moved = true;
      events = reap(ended);
      // equivalent fault (assignment): affects only how long the loop polls before it sleeps
      moved = moved || events > 0;
    } while (events > 0 && !ready_.empty());
    return moved;
  }

  /// @return whether to call it again; if not, the remaining operations wait for the next events.
  [[nodiscard]] bool submit(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::error_code ec;
    if (ensure_open(ec)) flight_.take(ready_, ec);
    if (!ec) return true;
    const bool is_full = ec == std::errc::resource_unavailable_try_again && !flight_.empty();
    if (!is_full) end(take_first(ready_), -ec.value(), ended);
    return !is_full;
  }

  /// @return whether the context is open, so that operations can be submitted.
  [[nodiscard]] bool ensure_open(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (flight_.is_open()) return true;
    const int readable = flight_.open(ec);
    if (!ec) watch(readable, ec);
    if (ec) flight_.close();
    return !ec;
  }

  // Completing.

  /// @return the number of events.
  std::size_t reap(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::array<aio::io_event, file_flight::batch> room;
    for (std::size_t count = 0;;) {
      const auto events = flight_.reap(room);
      for (const auto& event : events) arrived(*static_cast<file_op*>(event.data), event.res, ended);
      count += events.size();
      if (events.size() < room.size()) return count;
    }
  }

  // A non-blocking pipe or socket reports -EAGAIN. Its handler is called only after the file has become ready.
  void arrived(file_op& op, std::int64_t res, file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (op.file->facts().does_not_block && op.goes_on(res))
      make_ready(op);
    else
      end(op, res, ended);
  }

  // For an operation that has been removed from ready_ and flight_.
  void end(file_op& op, std::int64_t res, file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    op.complete(res);
    if (auto* const next = op.file->leave(op)) make_ready(*next);
    ended.push_back(op);
  }

  // While no operation is in flight, the wait for the descriptor must not count as outstanding work, so that the loop
  // can end.
  void ask_loop(bool moved) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (flight_.empty()) {
      if (loop_is_asked_) stop_asking();
      return;
    }
    if (is_to_look_again(moved))
      ask_for_turn();
    else if (!std::exchange(loop_is_asked_, true))
      ask_when_readable();
  }

  // Calls the first handler and defers the others. If handlers that were posted before have not been called yet, it
  // defers the first one, too: handlers of a stream would otherwise be called in another order than its operations
  // ended. The handler may throw. Therefore the other handlers are posted before it, each separately, so that other
  // threads can run them.
  void call_first(file_op_queue& ops) {
    if (ops.empty()) return;
    if (deferred_.load(base::memory_order_relaxed) != 0) {
      defer_all(ops);
      return;
    }
    auto& first = take_first(ops);
    const bool is_only = ops.empty();
    defer_all(ops);
    const sole_handler_scope here{is_only ? this : nullptr};
    first.dispatch();
  }

  void defer_all(file_op_queue& ops) noexcept {
    if (ops.empty()) return;
    const base::mutex_lock held{mutex_};
    defer_all_locked(ops);
  }
  void defer_all_locked(file_op_queue& ops) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!ops.empty()) defer(take_first(ops));
  }

  static void post_all(file_op_queue& ops) {
    while (!ops.empty()) take_first(ops).post();
  }

  // The operation may hold the last reference to its file (file_op::kept). The thread that frees it then closes the
  // file.
  [[nodiscard]] static file_op& take_first(file_op_queue& ops) noexcept {
    auto& op = ops.front();
    ops.pop_front();
    return op;
  }

  // Cancellation.

  template <class Predicate>
  void cancel_if(open_file& file, Predicate is_meant) {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      // Queued operations first, so that none of them becomes ready because the operation before it has ended.
      cancel_at(file_op::place::stream_queue, file, is_meant, ended);
      cancel_at(file_op::place::ready, file, is_meant, ended);
      cancel_at(file_op::place::in_flight, file, is_meant, ended);
      // For operations that have become ready, and for events that the context has fetched in order to submit the
      // cancel: no edge announces them.
      if (!file.outstanding.empty()) ask_for_turn();
    }
    post_all(ended);
  }

  template <class Predicate>
  void cancel_at(file_op::place where, open_file& file, Predicate is_meant, file_op_queue& ended)
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (auto at = file.outstanding.begin(); at != file.outstanding.end();) {
      auto& op = *at++;
      if (op.where == where && is_meant(op)) cancel(op, ended);
    }
  }

  void cancel(file_op& op, file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    switch (op.where) {
      case file_op::place::stream_queue:
        op.file->leave_queue(op);
        op.complete(-ECANCELED);
        ended.push_back(op);
        break;
      case file_op::place::ready:
        ready_.erase(ready_.iterator_to(op));
        end(op, -ECANCELED, ended);
        break;
      case file_op::place::in_flight:
        op.ask_for_end();
        flight_.cancel(op);
        break;
    }
  }

  // Shutdown.

  // Moves the operations of a queue, and those that are queued behind them in their streams, to `ended`.
  void collect(file_op_queue& from, file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!from.empty()) {
      auto& op = from.front();
      from.pop_front();
      ended.push_back(op);
      if (auto* const next = op.file->leave(op)) from.push_back(*next);
    }
  }

  file_op_queue ready_ DOORBELL_GUARDED_BY(mutex_);
  file_flight flight_ DOORBELL_GUARDED_BY(mutex_);
  bool turn_is_posted_ DOORBELL_GUARDED_BY(mutex_) = false;
  bool loop_is_asked_ DOORBELL_GUARDED_BY(mutex_) = false;
  bool is_shut_down_ DOORBELL_GUARDED_BY(mutex_) = false;
  // The number of handlers that have been posted and not called yet. Relaxed: with several threads the loop calls
  // handlers in any order, and a single thread sees its own changes.
  base::atomic<int> deferred_{0};
  const proactor_link link_ = std::make_shared<file_proactor*>(this);
};

inline void open_file::cancel(std::uint64_t key) {
  if (auto* const proactor = service()) proactor->cancel(*this, key);
}

}  // namespace doorbell::asio::detail
