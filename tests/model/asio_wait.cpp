// SPDX-License-Identifier: Apache-2.0
//
// Waits of doorbell::asio::eventfd as the loop sees them: the wake function, the polls and the cancel. A loop of the
// scenario replaces Asio's.
#include <doorbell/asio/detail/eventfd/eventfd_waiter.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio/execution_context.hpp>

#include <doorbell/base/mutex.hpp>
#include <doorbell/eventfd.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using asio::detail::eventfd_interest;
using asio::detail::eventfd_op;
using asio::detail::eventfd_service;
using asio::detail::eventfd_use;
using asio::detail::eventfd_waiter;

class watch_under_test;

/// Runs polls, and counts the operations that have ended.
class event_loop {
 public:
  void post(std::shared_ptr<watch_under_test> what) {
    const base::mutex_lock held{lock_};
    REQUIRE(!closed_);
    posted_.push_back(std::move(what));
    changed_.notify_one();
  }
  void finish(const boost::system::error_code& result, std::uint64_t count) {
    const base::mutex_lock held{lock_};
    ++ended_;
    if (result) ++failed_;
    read_ += count;
    changed_.notify_one();
  }
  /// Counts an operation that is destroyed without a call of its handler.
  void forget() {
    const base::mutex_lock held{lock_};
    ++forgotten_;
  }
  /// From now on a post is a failure.
  void close() {
    const base::mutex_lock held{lock_};
    closed_ = true;
    posted_.clear();
  }
  /// Runs polls until `operations` operations have ended.
  void run_until_ended(int operations);

  [[nodiscard]] int ended() const noexcept { return ended_; }
  [[nodiscard]] int failed() const noexcept { return failed_; }
  [[nodiscard]] int forgotten() const noexcept { return forgotten_; }
  [[nodiscard]] std::uint64_t read() const noexcept { return read_; }

 private:
  base::mutex lock_;
  base::condition_variable changed_;
  std::vector<std::shared_ptr<watch_under_test>> posted_;
  bool closed_ = false;
  int ended_ = 0;
  int failed_ = 0;
  int forgotten_ = 0;
  std::uint64_t read_ = 0;
};

class watch_under_test final : public eventfd_waiter {
 public:
  watch_under_test(eventfd_service& service, eventfd_ctx& ctx, event_loop& loop) noexcept
      : eventfd_waiter{service, ctx}, loop_{loop} {}
  void look_now() { look(); }

 private:
  void post_look() override { loop_.post(std::static_pointer_cast<watch_under_test>(shared_from_this())); }

  event_loop& loop_;
};

void event_loop::run_until_ended(int operations) {
  for (;;) {
    std::shared_ptr<watch_under_test> next;
    {
      const base::mutex_lock held{lock_};
      while (posted_.empty() && ended_ < operations) changed_.wait(lock_);
      if (posted_.empty()) return;
      next = std::move(posted_.back());
      posted_.pop_back();
    }
    next->look_now();
  }
}

/// An operation that reports its end to the loop.
class recorded_op final : public eventfd_op {
 public:
  recorded_op(event_loop& loop, eventfd_use use, const eventfd_interest& interest, std::uint64_t key) noexcept
      : eventfd_op{use, interest, key}, loop_{loop} {}

  void post() override {
    loop_.finish(result(), value());
    delete this;
  }
  void dispatch() override { post(); }
  void destroy() noexcept override {
    loop_.forget();
    delete this;
  }

 private:
  ~recorded_op() = default;

  event_loop& loop_;
};

struct listening {
  explicit listening(int flags = 0)
      : efd(0, flags), watch{std::make_shared<watch_under_test>(service, *efd.context(), loop)} {
    service.add(*watch);
  }
  void begin_read(std::uint64_t key = 0) {
    watch->start(*new recorded_op{loop, eventfd_use::reads, {.events = POLLIN}, key});
  }
  /// Like a wait for an auto-reset event.
  void begin_event_wait(std::uint64_t key = 0) {
    watch->start_or_finish(*new recorded_op{loop, eventfd_use::acquires, {.events = POLLIN}, key});
  }
  /// Like auto_reset_event::set().
  void set_event() {
    watch->change([](eventfd_ctx& ctx, auto wake) {
      if (wake(1) == 0 && ctx.count() == 0) ctx.signal();
    });
  }
  /// The number of waits that an event has completed without an error.
  [[nodiscard]] int completed() const noexcept { return loop.ended() - loop.failed(); }

  void begin_write(std::uint64_t n, std::uint64_t key = 0) {
    watch->start(*new recorded_op{loop, eventfd_use::writes, {.room = n}, key});
  }
  /// Like the destructor of the I/O object: posted polls still refer to the waiter.
  void destroy() {
    const auto last = std::move(watch);
    last->close();
  }
  /// Like the destructor of the execution context.
  void shut_down() {
    service.remove(*watch);
    static_cast<eventfd_service::client&>(*watch).shut_down();
    loop.close();
  }

  eventfd efd;
  boost::asio::execution_context context;
  eventfd_service service{context};
  event_loop loop;
  std::shared_ptr<watch_under_test> watch;
};

}  // namespace

SCENARIO(asio_read_and_signal, 3, "a read that waits or begins to wait ends once, with the count of the signal") {
  listening all;
  together({{"loop", [&] { all.loop.run_until_ended(1); }}, {"reader", [&] { all.begin_read(); }}, {"signaller", [&] {
                                                                                                      all.efd.signal(2);
                                                                                                    }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 0 && all.loop.read() == 2);
  all.watch->close();
}

SCENARIO(asio_cancel_and_signal, 3,
         "a read that is cancelled as the signal arrives ends once, and takes the count or leaves it") {
  listening all;
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(1); }},
            {"canceller", [&] { all.watch->cancel(); }},
            {"signaller", [&] { all.efd.signal(); }}});
  REQUIRE(all.loop.ended() == 1);
  REQUIRE(all.loop.read() == (all.loop.failed() == 0 ? 1 : 0));
  REQUIRE(all.loop.read() + all.efd.context()->count() == 1);
  all.watch->close();
  all.loop.close();
}

SCENARIO(asio_close_and_signal, 3, "once close() has returned nothing is posted, so the loop may be destroyed") {
  listening all;
  all.begin_read();
  together({{"closer",
             [&] {
               all.watch->close();
               all.loop.close();
             }},
            {"signaller", [&] { all.efd.signal(); }},
            {"other signaller", [&] { all.efd.signal(); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 1);
}

SCENARIO(asio_two_reads_signal_and_cancel, 3,
         "each of two waiting reads ends once, and one of them reads the count of the signal, or it is left") {
  listening all;
  all.begin_read();
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"first signaller", [&] { all.efd.signal(); }},
            {"canceller", [&] { all.watch->cancel(); }}});
  REQUIRE(all.loop.ended() == 2);
  REQUIRE(all.loop.read() + all.efd.context()->count() == 1);
  all.watch->close();
  all.loop.close();
}

SCENARIO(asio_cancel_one_of_two_reads, 3,
         "a read that is cancelled as the signal arrives leaves the wakeup to the other read") {
  listening all{EFD_SEMAPHORE};
  constexpr std::uint64_t key = 1;
  all.begin_read(key);
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"canceller", [&] { all.watch->cancel(key); }},
            {"signaller", [&] { all.efd.signal(2); }}});
  REQUIRE(all.loop.ended() == 2 && all.loop.failed() <= 1);
  REQUIRE(all.loop.read() + all.efd.context()->count() == 2);
  all.watch->close();
  all.loop.close();
}

SCENARIO(asio_read_and_hup, 3, "a read that waits when the last handle is closed ends once, with an error") {
  listening all;
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(1); }}, {"closer", [&] { all.efd.close(); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 1);
  all.watch->close();
  all.loop.close();
}

SCENARIO(asio_destroyed_and_signal, 3, "a read ends once if its object is destroyed as the signal arrives") {
  listening all;
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(1); }}, {"owner", [&] { all.destroy(); }}, {"signaller", [&] {
                                                                                                  all.efd.signal();
                                                                                                }}});
  REQUIRE(all.loop.ended() == 1);
  REQUIRE(all.loop.read() + all.efd.context()->count() == 1);
  all.loop.close();
}
AND_WEAK(asio_destroyed_and_signal, 2, 2);

SCENARIO(asio_shut_down_and_signal, 3,
         "once the context is shut down nothing is posted, and each handler is destroyed without a call") {
  listening all;
  const auto context = all.efd.context();
  all.begin_read();
  all.begin_read();
  together({{"owner", [&] { all.shut_down(); }}, {"signaller", [&] { context->signal(); }}, {"closer", [&] {
                                                                                               all.efd.close();
                                                                                             }}});
  REQUIRE(all.loop.ended() == 0 && all.loop.forgotten() == 2);
}

SCENARIO(asio_event_set_and_cancel, 3,
         "if one of two waits is cancelled as the event is set, the set completes exactly one wait") {
  listening all;
  constexpr std::uint64_t key = 1;
  all.begin_event_wait(key);
  all.begin_event_wait();
  together({{"setter", [&] { all.set_event(); }}, {"canceller", [&] { all.watch->cancel(key); }}});
  REQUIRE(all.completed() == 1 && all.efd.context()->count() == 0);
  all.watch->close();
  REQUIRE(all.loop.ended() == 2);
  all.loop.close();
}

SCENARIO(asio_event_sets_and_waits, 3,
         "a set completes a wait or is stored for the next one, and no wait is pending while the event is set") {
  listening all;
  together({{"setter", [&] { all.set_event(); }}, {"other setter", [&] { all.set_event(); }}, {"waiter", [&] {
                                                                                                 all.begin_event_wait();
                                                                                               }}});
  REQUIRE(all.completed() == 1);
  REQUIRE(all.efd.context()->count() <= 1);
  all.watch->close();
  REQUIRE(all.loop.ended() == 1);
  all.loop.close();
}

SCENARIO(asio_write_and_drain, 3, "a write that waits or begins to wait for room ends once, and its count is added") {
  listening all;
  all.efd.signal(eventfd::max);
  together({{"loop", [&] { all.loop.run_until_ended(1); }},
            {"writer", [&] { all.begin_write(2); }},
            {"reader", [&] { REQUIRE(all.efd.context()->drain() == eventfd::max); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 0);
  REQUIRE(all.efd.context()->count() == 2);
  all.watch->close();
}
AND_WEAK(asio_write_and_drain, 2, 2);

SCENARIO(asio_write_and_cancel, 3,
         "a write that is cancelled as a read makes room ends once: its count is added, or it fails") {
  listening all;
  all.efd.signal(eventfd::max);
  all.begin_write(2);
  together({{"loop", [&] { all.loop.run_until_ended(1); }},
            {"canceller", [&] { all.watch->cancel(); }},
            {"reader", [&] { all.efd.context()->drain(); }}});
  REQUIRE(all.loop.ended() == 1);
  REQUIRE(all.efd.context()->count() == (all.loop.failed() == 0 ? 2 : 0));
  all.watch->close();
  all.loop.close();
}
AND_WEAK(asio_write_and_cancel, 2, 2);

SCENARIO(asio_write_behind_another, 3,
         "a write is added when the write before it is cancelled, although no thread reads") {
  listening all;
  constexpr std::uint64_t key = 1;
  all.efd.signal(eventfd::max - 2);
  all.begin_write(3, key);
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"canceller", [&] { all.watch->cancel(key); }},
            {"writer", [&] { all.begin_write(2); }}});
  REQUIRE(all.loop.ended() == 2 && all.loop.failed() == 1);
  REQUIRE(all.efd.context()->count() == eventfd::max);
  all.watch->close();
  all.loop.close();
}

SCENARIO(asio_two_writes_and_drain, 3, "each of two waiting writes ends once, and both counts are added") {
  listening all;
  all.efd.signal(eventfd::max);
  all.begin_write(eventfd::max);
  all.begin_write(2);
  std::uint64_t taken = 0;
  together({{"loop", [&] { all.loop.run_until_ended(2); }}, {"reader", [&] {
                                                               taken = all.efd.read();
                                                               taken += all.efd.read() - eventfd::max;
                                                             }}});
  REQUIRE(all.loop.ended() == 2 && all.loop.failed() == 0);
  REQUIRE(taken + all.efd.context()->count() == eventfd::max + 2);
  all.watch->close();
}

SCENARIO(asio_write_and_close, 3,
         "once close() has returned nothing is posted, and the write has failed without adding its count") {
  listening all;
  all.efd.signal(eventfd::max);
  all.begin_write(2);
  together({{"closer",
             [&] {
               all.watch->close();
               all.loop.close();
             }},
            {"reader", [&] { all.efd.context()->drain(); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 1);
  REQUIRE(all.efd.context()->count() == 0);
}
AND_WEAK(asio_write_and_close, 3, 2);

SCENARIO(asio_write_and_hup, 3,
         "a write that waits when the last handle is closed ends once: its count is added, or it fails") {
  listening all;
  const auto context = all.efd.context();
  context->signal(eventfd::max);
  all.begin_write(2);
  together({{"loop", [&] { all.loop.run_until_ended(1); }}, {"closer", [&] { all.efd.close(); }}, {"reader", [&] {
                                                                                                     context->drain();
                                                                                                   }}});
  REQUIRE(all.loop.ended() == 1);
  REQUIRE(context->count() == (all.loop.failed() == 0 ? 2 : 0));
  all.watch->close();
  all.loop.close();
}

}  // namespace doorbell::model
