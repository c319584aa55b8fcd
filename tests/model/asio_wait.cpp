// SPDX-License-Identifier: Apache-2.0
//
// The wait of doorbell::asio::eventfd on the loop's side: its wake function, its looks and its cancel; with a loop of the
// scenario's own in the place of Asio's.
#include <doorbell/asio/detail/bell_watch.hpp>

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

using asio::detail::bell_op;
using asio::detail::bell_service;
using asio::detail::bell_use;
using asio::detail::bell_watch;

class watch_under_test;

/// What runs looks, and knows of operations that have ended.
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
  /// From now on nothing may be posted.
  void close() {
    const base::mutex_lock held{lock_};
    closed_ = true;
    posted_.clear();
  }
  /// Runs looks until so many operations have ended.
  void run_until_ended(int operations);

  [[nodiscard]] int ended() const noexcept { return ended_; }
  [[nodiscard]] int failed() const noexcept { return failed_; }
  [[nodiscard]] std::uint64_t read() const noexcept { return read_; }

 private:
  base::mutex lock_;
  base::condition_variable changed_;
  std::vector<std::shared_ptr<watch_under_test>> posted_;
  bool closed_ = false;
  int ended_ = 0;
  int failed_ = 0;
  std::uint64_t read_ = 0;
};

class watch_under_test final : public bell_watch {
 public:
  watch_under_test(bell_service& service, eventfd_ctx& ctx, event_loop& loop) noexcept
      : bell_watch{service, ctx}, loop_{loop} {}
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

/// A read that tells the loop when it ends.
class recorded_read final : public bell_op {
 public:
  explicit recorded_read(event_loop& loop) noexcept : bell_op{bell_use::reads, POLLIN, nullptr}, loop_{loop} {}

  void post() override {
    loop_.finish(result(), count());
    delete this;
  }
  void dispatch() override { post(); }
  void destroy() noexcept override { delete this; }

 private:
  ~recorded_read() = default;

  event_loop& loop_;
};

struct listening {
  listening() : watch{std::make_shared<watch_under_test>(service, *bell.context(), loop)} { service.add(*watch); }
  void begin_read() { watch->start(*new recorded_read{loop}); }

  eventfd bell;
  boost::asio::execution_context context;
  bell_service service{context};
  event_loop loop;
  std::shared_ptr<watch_under_test> watch;
};

}  // namespace

SCENARIO(asio_read_and_signal, 3, "a read that waits, or is about to, ends once, with what was signalled") {
  listening all;
  together({{"loop", [&] { all.loop.run_until_ended(1); }},
            {"reader", [&] { all.begin_read(); }},
            {"signaller", [&] { all.bell.signal(2); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 0 && all.loop.read() == 2);
  all.watch->close();
}

SCENARIO(asio_cancel_and_signal, 3,
         "a read that is cancelled as the signal comes ends once: it has got it, or left it there") {
  listening all;
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(1); }},
            {"canceller", [&] { all.watch->cancel(); }},
            {"signaller", [&] { all.bell.signal(); }}});
  REQUIRE(all.loop.ended() == 1);
  REQUIRE(all.loop.read() == (all.loop.failed() == 0 ? 1 : 0));
  REQUIRE(all.loop.read() + all.bell.context()->count() == 1);
  all.watch->close();
  all.loop.close();
}

SCENARIO(asio_close_and_signal, 3, "once close() has returned nothing is posted, and the loop may be gone") {
  listening all;
  all.begin_read();
  together({{"closer",
             [&] {
               all.watch->close();
               all.loop.close();
             }},
            {"signaller", [&] { all.bell.signal(); }},
            {"other signaller", [&] { all.bell.signal(); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 1);
}

SCENARIO(asio_two_reads_and_signals, 3,
         "each of two reads that wait ends once, and what they read is what was signalled") {
  listening all;
  all.begin_read();
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"first signaller", [&] { all.bell.signal(); }},
            {"canceller", [&] { all.watch->cancel(); }}});
  REQUIRE(all.loop.ended() == 2);
  REQUIRE(all.loop.read() + all.bell.context()->count() == 1);
  all.watch->close();
  all.loop.close();
}

SCENARIO(asio_read_and_hup, 3, "a read that waits when the last handle is closed ends once, with an error") {
  listening all;
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(1); }}, {"closer", [&] { all.bell.close(); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.failed() == 1);
  all.watch->close();
  all.loop.close();
}

}  // namespace doorbell::model
