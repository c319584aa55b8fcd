// SPDX-License-Identifier: Apache-2.0
//
// file_proactor: operations on files on their way through an aio::context, which is reaped in the threads that run the loop: no
// other thread takes part, unless the engine has workers. Which loop that is, a derived class knows.
//
//   lane (streams only) --> ready --turn: submitted--> in flight --turn: event--> ended, handed over
//
// A *turn* comes when operations have been started (posted once, however many there are, so that they are submitted by one
// call) and when the context's descriptor is readable, for which the loop is asked only while something is in flight: what
// submit answers itself, or the engine at once, needs no more than the turn that submitted it.
//
// The loop counts a turn as a handler, so a turn calls one handler at most, and
// posts the others: run_one() runs one, stop() stops after the one that called
// it, and what was posted before comes before.
//
// The next turn submits the operations that handlers start, all together. If a handler is the only one (only_handler),
// there is no other operation to submit its first one with. So it is submitted where it is started, or, if it reads what
// is in memory, carried out there, and only its handler is posted. This saves a round of the loop.
//
// Operations for which the context has no room stay ready, and the turn of the next events submits them.
//
//   turn                                 starter
//   no turn is posted now; submits what is ready
//                                        one more is ready: posts a turn, unless one is posted
//
//   legal:     a turn that is posted has not begun, and finds it. A starter that is an only handler may submit it itself,
//              in the same hold of mutex_, and looks whether it was answered.
//   forbidden: something ready, nothing in flight, and no turn to come.
//
//   turn                                 the engine
//   reaps: nothing
//                                        completes: an edge, while nobody asks for one
//   something in flight: asks for one
//
//   legal:     who asks is told of what is there already, so the next turn comes. Busy polling posts the next turn in the place
//              of asking, until it has looked for long enough.
//   forbidden: something in flight, nobody who asks, and no turn to come.
//
//   canceller                            turn
//   finds it in flight: asks the engine
//                                        reaps its event: takes it off, hands it over
//
//   legal:     what is in flight ends by its event alone; where it is is changed and looked at under mutex_.
//   forbidden: ended by the canceller as well; or before the engine has let go of its buffers.
//
// Locks, outermost first: mutex_, then what is the aio::context's and the loop's. Neither calls back: the requests ring no
// eventfd. Handlers, and what they own, are called, posted and destroyed with no lock held.
//
// Memory ordering: mutex_. The kernel's and the workers' writes to the buffers are acquired with the event.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/asio/detail/file_flight.hpp>
#include <doorbell/asio/detail/file_op.hpp>
#include <doorbell/asio/detail/only_handler.hpp>
#include <doorbell/asio/detail/open_file.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>

namespace doorbell::asio::detail {

class file_proactor {
 public:
  file_proactor(const file_proactor&) = delete;
  file_proactor& operator=(const file_proactor&) = delete;

  /// Takes the operation over, whose file is set: it ends here, or by cancel() or the end of the context. Its handler is
  /// called from the loop.
  void start(file_op& op) {
    {
      const base::mutex_lock held{mutex_};
      if (!is_shut_down_) {
        const bool is_alone = ready_.empty() && only_handler::take_first_start(*this);
        if (is_alone && answer_inline(op)) return;
        if (!op.file->enter(op)) return;
        make_ready(op);
        if (!is_alone || !submit_alone()) ask_for_turn();
        return;
      }
    }
    op.destroy();
  }

  /// Carries a read out in the calling thread, if that does not wait and no
  /// other of its stream is before it.
  /// @return the res of its event; nothing when it has had no effect.
  [[nodiscard]] std::optional<std::int64_t> read_inline(open_file& file, aio::iocb& read) {
    const base::mutex_lock held{mutex_};
    std::error_code ec;
    if (is_shut_down_ || !ensure_open(ec)) return std::nullopt;
    return read_inline_locked(file, read);
  }

  /// Calls the handler of an operation that post_hand_over() was given: by a
  /// thread that runs the loop.
  static void run_handed_over(file_op& ended) {
    auto* const turns = ended.handed_over_by;
    const bool is_only = turns->handed_over_.fetch_sub(1, base::memory_order_relaxed) == 1;
    const only_handler here{is_only ? turns : nullptr};
    ended.dispatch();
  }

  /// For the files, that may be there longer.
  [[nodiscard]] const proactor_link& link() const noexcept { return link_; }

  /// Ends the operations of a file, or those with that cancellation key, with operation_aborted; those that are in flight when
  /// the engine has stopped them, or with their result when it cannot.
  void cancel(open_file& file) {
    cancel_if(file, [](const file_op&) { return true; });
  }
  void cancel(open_file& file, std::uint64_t meant) {
    cancel_if(file, [meant](const file_op& op) { return op.cancellation_key() == meant; });
  }

  /// @return whether no operation uses its descriptor.
  [[nodiscard]] bool is_idle(const open_file& file) {
    const base::mutex_lock held{mutex_};
    return file.outstanding.empty();
  }
  /// Takes the descriptor out, which those in flight may go on using.
  [[nodiscard]] int release(open_file& file) {
    const base::mutex_lock held{mutex_};
    return file.release();
  }

 protected:
  file_proactor() = default;
  ~file_proactor() { *link_ = nullptr; }

  // The loop's, for the derived class to say. None of them calls back.

  /// Has turn_by_post() called by a thread that runs the loop.
  virtual void post_turn() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// @param moved whether anything has just been submitted or has ended.
  /// @return whether it is to look for what is in flight again before it sleeps: busy polling.
  virtual bool is_to_look_again(bool moved) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// Has it given to run_handed_over() by one.
  virtual void post_hand_over(file_op& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// This is the descriptor from now on.
  virtual void watch(int descriptor, std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// Has turn_when_readable() called, once, when it is or has become readable: until then the loop does not end.
  virtual void ask_when_readable() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  /// Has it called all the same.
  virtual void stop_asking() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;

  // For the loop.

  void turn_by_post() { turn(&file_proactor::turn_is_posted_); }
  void turn_when_readable() { turn(&file_proactor::loop_is_asked_); }

  /// When no thread runs the loop any more: what is outstanding is destroyed, and so is what will be started.
  void shut_down() {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      is_shut_down_ = true;
      // When the engine has let go of them nobody touches a buffer; only then may handlers go, that may own them.
      file_op_queue landed = flight_.close();
      collect(ready_, ended);
      collect(landed, ended);
    }
    // The handlers' destructors may close files.
    while (!ended.empty()) take_first(ended).destroy();
  }

  /// A fork's child has no part in what is in flight: its parent has. It ends as cancelled there; what is ready goes, through a
  /// context of the child's own.
  void begin_anew_in_child() {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      file_op_queue landed = flight_.close();
      while (!landed.empty()) end(take_first(landed), -ECANCELED, ended);
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

  // A read that does not wait is carried out where it is started. Its handler
  // is still called from the loop.
  // @return false: it has had no effect.
  [[nodiscard]] bool answer_inline(file_op& op) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (op.use() != file_use::reads || !flight_.is_open()) return false;
    const auto res = read_inline_locked(*op.file, op.request());
    if (!res) return false;
    op.complete(*res);
    op.file = nullptr;
    hand_over_later(op);
    return true;
  }
  [[nodiscard]] std::optional<std::int64_t> read_inline_locked(open_file& file, aio::iocb& read) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!file.begin_inline(read)) return std::nullopt;
    const auto res = flight_.read_inline(read);
    if (res) file.end_inline(read, *res);
    return res;
  }

  // Hands over an operation that submit has answered: no edge announces it.
  // @return whether nothing is left for a turn.
  [[nodiscard]] bool submit_alone() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    file_op_queue ended;
    advance(ended);
    pass_on_locked(ended);
    return ready_.empty();
  }

  // Its handler is the only one if no other that was handed over is still to be
  // called.
  void hand_over_later(file_op& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ended.handed_over_by = this;
    handed_over_.fetch_add(1, base::memory_order_relaxed);
    post_hand_over(ended);
  }

  void turn(bool file_proactor::* asked_for) {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      this->*asked_for = false;
      advance(ended);
    }
    hand_over_all(ended);
  }

  // Busy polling, a turn that finds nothing looks again by itself, for a while: a look costs less than a round of the loop.
  void advance(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool moved = submit_and_reap(ended);
    for (int more = looks_in_a_row; !moved && more > 0 && is_to_look_again(moved); --more)
      moved = submit_and_reap(ended);
    ask_loop(moved);
  }

  // Submitted first: a disk need not wait for what else is done here. Events make room, and may have others go.
  // @return whether there was anything to do.
  bool submit_and_reap(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool moved = false;
    std::size_t events = 0;
    do {
      while (!ready_.empty() && submit(ended)) moved = true;
      events = reap(ended);
      moved = moved || events > 0;
    } while (events > 0 && !ready_.empty());
    return moved;
  }

  /// @return whether there is a point in going on; otherwise those that are left wait for the next events.
  [[nodiscard]] bool submit(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::error_code ec;
    if (ensure_open(ec)) flight_.take(ready_, ec);
    if (!ec) return true;
    const bool is_full = ec == std::errc::resource_unavailable_try_again && !flight_.empty();
    if (!is_full) end(take_first(ready_), -ec.value(), ended);
    return !is_full;
  }

  /// @return whether something can be submitted.
  [[nodiscard]] bool ensure_open(std::error_code& ec) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (flight_.is_open()) return true;
    const int readable = flight_.open(ec);
    if (!ec) watch(readable, ec);
    if (ec) flight_.close();
    return !ec;
  }

  // Completing.

  /// @return how many events there were.
  std::size_t reap(file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::array<aio::io_event, file_flight::batch> room;
    for (std::size_t count = 0;;) {
      const auto events = flight_.reap(room);
      for (const auto& event : events) arrived(*static_cast<file_op*>(event.data), event.res, ended);
      count += events.size();
      if (events.size() < room.size()) return count;
    }
  }

  // What is set not to block says so, but its handler is not called before there is something.
  void arrived(file_op& op, std::int64_t res, file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (op.file->facts().does_not_block && op.goes_on(res))
      make_ready(op);
    else
      end(op, res, ended);
  }

  // Of one that is on no list any more.
  void end(file_op& op, std::int64_t res, file_op_queue& ended) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    op.complete(res);
    if (auto* const next = op.file->leave(op)) make_ready(*next);
    ended.push_back(op);
  }

  // While nothing is in flight the loop may end: it is not kept by what waits for nothing.
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

  // The first handler may be called right here, unless others were handed over
  // before and are still to be called: of a stream they would be called in
  // another order than they ended. It may throw: by then the others are on their
  // way, each by itself, so that other threads may take them.
  void hand_over_all(file_op_queue& ops) {
    if (ops.empty()) return;
    if (handed_over_.load(base::memory_order_relaxed) != 0) return pass_on(ops);
    auto& first = take_first(ops);
    const bool is_only = ops.empty();
    pass_on(ops);
    const only_handler here{is_only ? this : nullptr};
    first.dispatch();
  }

  void pass_on(file_op_queue& ops) noexcept {
    if (ops.empty()) return;
    const base::mutex_lock held{mutex_};
    pass_on_locked(ops);
  }
  void pass_on_locked(file_op_queue& ops) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!ops.empty()) hand_over_later(take_first(ops));
  }

  static void post_all(file_op_queue& ops) {
    while (!ops.empty()) take_first(ops).post();
  }

  // What the operation lets go of may close its file, in this thread.
  [[nodiscard]] static file_op& take_first(file_op_queue& ops) noexcept {
    auto& op = ops.front();
    ops.pop_front();
    return op;
  }

  // Cancelling.

  template <class Predicate>
  void cancel_if(open_file& file, Predicate is_meant) {
    file_op_queue ended;
    {
      const base::mutex_lock held{mutex_};
      // Those in lanes first, so that none of them goes because the one before it has ended.
      cancel_at(file_op::place::lane, file, is_meant, ended);
      cancel_at(file_op::place::ready, file, is_meant, ended);
      cancel_at(file_op::place::in_flight, file, is_meant, ended);
      // For those that stood behind, and for events that the context has fetched to ask the engine: no edge tells of them.
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
      case file_op::place::lane:
        op.file->leave_lane(op);
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

  // The end.

  // The operations of a queue, and those that stand in lanes behind them.
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
  // How many handlers are still to be called of those that were handed over. The threads of a loop call them in any
  // order; a thread that is the only one sees its own changes.
  base::atomic<int> handed_over_{0};
  const proactor_link link_ = std::make_shared<file_proactor*>(this);
};

inline void open_file::cancel(std::uint64_t key) {
  if (auto* const turns = service()) turns->cancel(*this, key);
}

}  // namespace doorbell::asio::detail
