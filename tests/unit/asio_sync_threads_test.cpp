// SPDX-License-Identifier: Apache-2.0
//
// Events, condition variable and semaphore of doorbell::asio between threads.
#include <doorbell/asio/sync.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/threads.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::use_awaitable;

/// Two loops, each run by a thread until all coroutines have ended.
class asio_sync_threads : public testing::Test {
 protected:
  template <class Coroutine>
  void spawn(std::size_t loop, Coroutine coroutine) {
    net::co_spawn(loops.at(loop), std::move(coroutine),
                  [one = net::make_work_guard(loops[0]), other = net::make_work_guard(loops[1])](
                      const std::exception_ptr& thrown) { EXPECT_EQ(thrown, nullptr); });
  }
  /// @param others bodies of other threads.
  template <class... Bodies>
  void run(Bodies... others) {
    std::vector<std::jthread> threads;
    for (auto& loop : loops) threads.emplace_back([&loop] { loop.run(); });
    (threads.emplace_back(std::move(others)), ...);
  }

  std::array<net::io_context, 2> loops;
};

// Oracle: one wait is cancelled concurrently with a set, and another wait is queued behind it. Exactly one of the two
// waits gets the set.
TEST_F(asio_sync_threads, a_set_against_a_cancel_completes_exactly_one_wait) {
  constexpr int rounds = 100;
  net::io_context& io = loops[0];
  for (int round = 0; round < rounds; ++round) {
    doorbell::asio::auto_reset_event event{io};
    net::cancellation_signal stop;
    int first = 0;
    int second = 0;
    event.async_wait(net::bind_cancellation_slot(stop.slot(), [&](error_code ec) { first = ec ? -1 : 1; }));
    event.async_wait([&](error_code ec) { second = ec ? -1 : 1; });
    doorbell::test::run_together(2, [&](std::size_t index) {
      if (index == 0)
        event.set();
      else
        stop.emit(net::cancellation_type::terminal);
    });
    io.poll();
    io.restart();
    EXPECT_EQ(first, second == 1 ? -1 : 1);
    event.close();
    io.run();
    io.restart();
    EXPECT_EQ(first + second, 0);
  }
}

// Oracle: each message that a coroutine of one loop writes is read exactly once by a coroutine of another loop. Each
// coroutine sets an event after its change.
TEST_F(asio_sync_threads, an_auto_reset_event_publishes_what_was_written_before_the_set) {
  constexpr int messages = 500;
  doorbell::asio::auto_reset_event filled{loops[0]};
  doorbell::asio::auto_reset_event emptied{loops[1], true};
  int box = 0;  // not atomic: the events order its reader and its writer
  int sum = 0;
  spawn(0, [&]() -> net::awaitable<void> {
    for (int i = 1; i <= messages; ++i) {
      co_await filled.async_wait(use_awaitable);
      sum += std::exchange(box, 0);
      emptied.set();
    }
  });
  spawn(1, [&]() -> net::awaitable<void> {
    for (int i = 1; i <= messages; ++i) {
      co_await emptied.async_wait(use_awaitable);
      box = i;
      filled.set();
    }
  });
  run();
  EXPECT_EQ(sum, messages * (messages + 1) / 2);
}

// Oracle: every waiter of either loop runs after the set, and sees the value written before the set.
TEST_F(asio_sync_threads, a_manual_reset_event_publishes_to_all_waiters) {
  constexpr std::size_t waiters = 50;
  doorbell::asio::manual_reset_event ready{loops[0]};
  int answer = 0;  // not atomic: the event orders the accesses
  std::array<std::size_t, 2> saw{};
  for (std::size_t i = 0; i < waiters; ++i)
    spawn(i % 2, [&, i]() -> net::awaitable<void> {
      co_await ready.async_wait(use_awaitable);
      saw[i % 2] += answer == 42 ? 1U : 0U;
    });
  run([&] {
    answer = 42;
    ready.set();
  });
  EXPECT_EQ(saw[0] + saw[1], waiters);
}

// Oracle: the consumers take exactly the items that the producers put, and all coroutines end: no notify is lost
// between the check of the condition and the wait.
TEST_F(asio_sync_threads, a_condition_variable_loses_no_notify) {
  constexpr int items = 300;
  std::mutex mutex;
  std::deque<int> queue;
  bool closed = false;
  doorbell::asio::condition_variable changed{loops[0]};
  std::array<long, 2> sums{};
  for (std::size_t loop = 0; loop < 2; ++loop)
    for (int i = 0; i < 2; ++i)
      spawn(loop, [&, loop]() -> net::awaitable<void> {
        for (;;) {
          std::unique_lock lock{mutex};
          while (queue.empty() && !closed) {
            co_await changed.async_wait(lock, use_awaitable);
            lock.lock();
          }
          if (queue.empty()) co_return;
          sums[loop] += queue.front();
          queue.pop_front();
        }
      });
  const auto produce = [&] {
    for (int i = 1; i <= items; ++i) {
      {
        const std::lock_guard lock{mutex};
        queue.push_back(i);
      }
      changed.notify_one();
    }
  };
  run([&] {
    doorbell::test::run_together(2, [&](std::size_t) { produce(); });
    {
      const std::lock_guard lock{mutex};
      closed = true;
    }
    changed.notify_all();
  });
  EXPECT_EQ(sums[0] + sums[1], static_cast<long>(items) * (items + 1));
}

// Oracle: as above, although waits are cancelled all the time: a coroutine whose wait was cancelled checks the
// condition again.
TEST_F(asio_sync_threads, a_condition_variable_loses_no_notify_to_a_cancelled_wait) {
  constexpr int items = 300;
  std::mutex mutex;
  int there = 0;
  int taken = 0;
  doorbell::asio::condition_variable changed{loops[0]};
  std::atomic<bool> over{false};
  spawn(0, [&]() -> net::awaitable<void> {
    while (taken < items) {
      std::unique_lock lock{mutex};
      while (there == 0) {
        co_await changed.async_wait(lock, net::as_tuple(use_awaitable));
        lock.lock();
      }
      taken += std::exchange(there, 0);
    }
    over = true;
  });
  run(
      [&] {
        for (int i = 0; i < items; ++i) {
          {
            const std::lock_guard lock{mutex};
            ++there;
          }
          changed.notify_one();
        }
      },
      [&] {
        while (!over) {
          changed.cancel();
          std::this_thread::yield();
        }
      });
  EXPECT_EQ(taken, items);
}

// Oracle: the count, which is not atomic, is exact: a semaphore with one permit provides mutual exclusion of coroutines
// of two loops and a thread.
TEST_F(asio_sync_threads, a_semaphore_with_one_permit_provides_mutual_exclusion) {
  constexpr int rounds = 200;
  doorbell::asio::semaphore permit{loops[0], 1};
  doorbell::asio::semaphore elsewhere{loops[1], permit.handle()};
  int count = 0;  // not atomic
  for (std::size_t i = 0; i < 4; ++i)
    spawn(i % 2, [&, i]() -> net::awaitable<void> {
      auto& own = i < 2 ? permit : elsewhere;
      for (int round = 0; round < rounds; ++round) {
        co_await own.async_acquire(use_awaitable);
        ++count;
        own.release();
      }
    });
  run([&, handle = permit.handle()] {
    for (int round = 0; round < rounds; ++round) {
      EXPECT_EQ(handle.read(), 1U);
      ++count;
      handle.signal();
    }
  });
  EXPECT_EQ(count, 5 * rounds);
}

}  // namespace
