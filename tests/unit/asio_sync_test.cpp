// SPDX-License-Identifier: Apache-2.0
//
// Events, condition variable and semaphore of doorbell::asio: first in one thread, then in several.
#include <doorbell/asio/sync.hpp>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doorbell/notifier.hpp>

#include "support/threads.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::use_awaitable;
using net::error::operation_aborted;

class asio_sync : public testing::Test {
 protected:
  /// A handler that appends the number of its wait to `done`, or to `aborted`.
  auto wait(int number) {
    return [this, number](error_code ec) {
      EXPECT_TRUE(!ec || ec == operation_aborted) << ec;
      (ec ? aborted : done).push_back(number);
    };
  }
  void poll() {
    io.poll();
    io.restart();
  }
  using numbers = std::vector<int>;

  net::io_context io;
  numbers done;
  numbers aborted;
  net::cancellation_signal stop;
};

class asio_auto_reset_event : public asio_sync {
 protected:
  doorbell::asio::auto_reset_event event{io};
};

TEST_F(asio_auto_reset_event, set_completes_the_wait_that_was_started_first) {
  for (int i = 0; i < 3; ++i) event.async_wait(wait(i));
  poll();
  EXPECT_EQ(done, numbers{});
  event.set();
  EXPECT_EQ(done, numbers{}) << "the handler was called inside set()";
  poll();
  EXPECT_EQ(done, numbers{0});
}

TEST_F(asio_auto_reset_event, as_many_sets_complete_as_many_waits_before_the_loop_runs) {
  for (int i = 0; i < 3; ++i) event.async_wait(wait(i));
  event.set();
  event.set();
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
}

TEST_F(asio_auto_reset_event, sets_without_a_wait_are_stored_as_one) {
  for (int i = 0; i < 3; ++i) event.set();
  for (int i = 0; i < 2; ++i) event.async_wait(wait(i));
  poll();
  EXPECT_EQ(done, numbers{0});
  event.set();
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
}

TEST_F(asio_auto_reset_event, a_stored_set_and_another_complete_two_waits) {
  event.set();
  for (int i = 0; i < 3; ++i) event.async_wait(wait(i));
  event.set();
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
}

TEST_F(asio_auto_reset_event, a_cancelled_wait_leaves_the_set_to_the_next) {
  event.async_wait(net::bind_cancellation_slot(stop.slot(), wait(0)));
  event.async_wait(wait(1));
  stop.emit(net::cancellation_type::total);
  event.set();
  poll();
  EXPECT_EQ(aborted, numbers{0});
  EXPECT_EQ(done, numbers{1});
}

TEST_F(asio_auto_reset_event, a_cancel_after_the_set_has_no_effect) {
  event.async_wait(net::bind_cancellation_slot(stop.slot(), wait(0)));
  event.async_wait(wait(1));
  event.set();
  stop.emit(net::cancellation_type::total);
  poll();
  EXPECT_EQ(aborted, numbers{});
  EXPECT_EQ(done, numbers{0});
}

TEST_F(asio_auto_reset_event, a_wait_that_finds_it_set_has_completed_and_is_not_cancelled) {
  event.set();
  event.async_wait(net::bind_cancellation_slot(stop.slot(), wait(0)));
  EXPECT_EQ(done, numbers{}) << "the handler was called inside the initiating function";
  stop.emit(net::cancellation_type::total);
  event.async_wait(wait(1));
  poll();
  EXPECT_EQ(aborted, numbers{});
  EXPECT_EQ(done, numbers{0});
}

TEST_F(asio_auto_reset_event, completes_waits_of_another_loop_though_its_own_does_not_run) {
  net::io_context others;
  event.set();
  for (int i = 0; i < 2; ++i) event.async_wait(net::bind_executor(others.get_executor(), wait(i)));
  event.set();
  others.poll();
  EXPECT_EQ(done, (numbers{0, 1}));
}

TEST_F(asio_auto_reset_event, reset_takes_a_stored_set_back_and_not_the_wait_that_has_found_it) {
  event.set();
  event.reset();
  event.async_wait(wait(0));
  poll();
  EXPECT_EQ(done, numbers{});
  event.set();
  event.set();
  event.async_wait(wait(1));
  event.reset();
  event.async_wait(wait(2));
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
}

TEST_F(asio_auto_reset_event, may_be_set_from_its_beginning) {
  doorbell::asio::auto_reset_event is_set{io.get_executor(), true};
  for (int i = 0; i < 2; ++i) is_set.async_wait(wait(i));
  poll();
  EXPECT_EQ(done, numbers{0});
}

TEST_F(asio_auto_reset_event, of_a_closed_one_waits_and_sets_are_refused) {
  event.async_wait(wait(0));
  event.close();
  poll();
  EXPECT_EQ(aborted, numbers{0});
  error_code refused;
  event.async_wait([&](error_code ec) { refused = ec; });
  poll();
  EXPECT_EQ(refused, net::error::bad_descriptor);
  error_code ec;
  EXPECT_EQ(event.set(ec), net::error::bad_descriptor);
  EXPECT_THROW(event.reset(), boost::system::system_error);
}

TEST_F(asio_auto_reset_event, in_a_callback_set_is_refused) {
  const doorbell::eventfd other;
  error_code refused;
  const doorbell::notifier inside{other, [&](auto&) { event.set(refused); }};
  other.signal();
  EXPECT_EQ(refused, boost::system::errc::resource_deadlock_would_occur);
}

TEST_F(asio_auto_reset_event, has_default_tokens_and_moves_with_its_waits) {
  event.async_wait(wait(0));
  auto awaited = use_awaitable.as_default_on(std::move(event));
  EXPECT_FALSE(event.is_open());
  net::co_spawn(
      io,
      [&]() -> net::awaitable<void> {
        co_await awaited.async_wait();
        done.push_back(1);
      },
      [](const std::exception_ptr& thrown) { EXPECT_EQ(thrown, nullptr); });
  io.poll();
  awaited.set();
  awaited.set();
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
}

class asio_manual_reset_event : public asio_sync {
 protected:
  doorbell::asio::manual_reset_event event{io};
};

TEST_F(asio_manual_reset_event, set_completes_all_waits_and_those_that_come_later) {
  for (int i = 0; i < 2; ++i) event.async_wait(wait(i));
  EXPECT_FALSE(event.is_set());
  event.set();
  event.set();
  EXPECT_TRUE(event.is_set());
  event.async_wait(wait(2));
  poll();
  EXPECT_EQ(done, (numbers{0, 1, 2}));
  event.reset();
  EXPECT_FALSE(event.is_set());
  event.async_wait(wait(3));
  poll();
  EXPECT_EQ(done.size(), 3U);
}

TEST_F(asio_manual_reset_event, a_reset_before_the_loop_runs_takes_no_wait_back) {
  event.async_wait(wait(0));
  event.set();
  event.async_wait(wait(1));
  event.reset();
  event.async_wait(wait(2));
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
  event.cancel();
  poll();
  EXPECT_EQ(aborted, numbers{2});
}

class asio_condition_variable : public asio_sync {
 protected:
  doorbell::asio::condition_variable changed{io};
  std::mutex mutex;
};

TEST_F(asio_condition_variable, notify_completes_the_waits_there_are_and_stores_nothing) {
  changed.notify_one();
  changed.notify_all();
  for (int i = 0; i < 4; ++i) changed.async_wait(wait(i));
  poll();
  EXPECT_EQ(done, numbers{});
  changed.notify_one();
  poll();
  EXPECT_EQ(done, numbers{0});
  changed.notify_all();
  changed.async_wait(wait(4));
  poll();
  EXPECT_EQ(done, (numbers{0, 1, 2, 3}));
}

TEST_F(asio_condition_variable, a_cancelled_wait_leaves_the_notify_to_the_next) {
  changed.async_wait(net::bind_cancellation_slot(stop.slot(), wait(0)));
  changed.async_wait(wait(1));
  stop.emit(net::cancellation_type::total);
  changed.notify_one();
  poll();
  EXPECT_EQ(aborted, numbers{0});
  EXPECT_EQ(done, numbers{1});
}

TEST_F(asio_condition_variable, a_wait_unlocks_the_mutex_and_its_handler_may_lock_it_again) {
  std::unique_lock lock{mutex};
  changed.async_wait(lock, [&](error_code ec) {
    EXPECT_FALSE(ec);
    lock.lock();
    done.push_back(0);
  });
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
  changed.notify_one();
  poll();
  EXPECT_EQ(done, numbers{0});
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(asio_condition_variable, a_refused_wait_unlocks_the_mutex) {
  changed.close();
  std::unique_lock lock{mutex};
  error_code refused;
  changed.async_wait(lock, [&](error_code ec) { refused = ec; });
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
  poll();
  EXPECT_EQ(refused, net::error::bad_descriptor);
}

template <class T>
struct no_memory {
  using value_type = T;

  no_memory() = default;
  template <class Other>
  explicit(false) no_memory(const no_memory<Other>& /*other*/) {}
  T* allocate(std::size_t /*n*/) { throw std::bad_alloc{}; }
  void deallocate(T* /*place*/, std::size_t /*n*/) {}
  template <class Other>
  bool operator==(const no_memory<Other>& /*other*/) const {
    return true;
  }
};

struct handler_without_memory {
  using allocator_type = no_memory<std::byte>;
  [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }
  void operator()(error_code /*ec*/) const { ADD_FAILURE(); }
};

TEST_F(asio_condition_variable, a_wait_that_throws_keeps_the_mutex_locked) {
  std::unique_lock lock{mutex};
  EXPECT_THROW(changed.async_wait(lock, handler_without_memory{}), std::bad_alloc);
  EXPECT_TRUE(lock.owns_lock());
}

class asio_semaphore : public asio_sync {};

TEST_F(asio_semaphore, a_callback_that_is_lent_is_copied_by_each_wait) {
  doorbell::asio::semaphore permits{io, 1};
  doorbell::asio::auto_reset_event is_set{io, true};
  doorbell::asio::manual_reset_event stays_set{io, true};
  doorbell::asio::condition_variable changed{io};
  const auto owned = std::make_shared<int>();
  int called = 0;
  auto callback = [owned, &called](error_code) { called += owned != nullptr ? 1 : 0; };
  permits.async_acquire(callback);
  is_set.async_wait(callback);
  stays_set.async_wait(callback);
  changed.async_wait(callback);
  std::mutex mutex;
  std::unique_lock lock{mutex};
  changed.async_wait(lock, callback);
  changed.notify_all();
  poll();
  EXPECT_EQ(called, 5) << "one of them had been moved from";
}

TEST_F(asio_semaphore, acquires_complete_in_order_while_there_are_permits) {
  doorbell::asio::semaphore permits{io, 2};
  for (int i = 0; i < 4; ++i) permits.async_acquire(wait(i));
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
  permits.release();
  poll();
  EXPECT_EQ(done, (numbers{0, 1, 2}));
  permits.release(3);
  poll();
  EXPECT_EQ(done.size(), 4U);
  EXPECT_TRUE(permits.try_acquire());
  EXPECT_TRUE(permits.try_acquire());
  EXPECT_FALSE(permits.try_acquire());
}

TEST_F(asio_semaphore, a_cancelled_acquire_takes_no_permit) {
  doorbell::asio::semaphore permits{io, 0};
  permits.async_acquire(net::bind_cancellation_slot(stop.slot(), wait(0)));
  permits.async_acquire(wait(1));
  permits.release();
  stop.emit(net::cancellation_type::total);
  poll();
  EXPECT_EQ(aborted, numbers{0});
  EXPECT_EQ(done, numbers{1});
}

TEST_F(asio_semaphore, shares_the_permits_of_a_handle) {
  const doorbell::eventfd handle{1, EFD_SEMAPHORE};
  doorbell::asio::semaphore first{io, handle};
  doorbell::asio::semaphore second{io, handle};
  EXPECT_TRUE(second.try_acquire());
  first.async_acquire(wait(0));
  poll();
  EXPECT_EQ(done, numbers{});
  second.handle().signal();
  poll();
  EXPECT_EQ(done, numbers{0});
}

TEST_F(asio_semaphore, refuses_a_handle_that_is_no_semaphore) {
  EXPECT_THROW((doorbell::asio::semaphore{io, doorbell::eventfd{}}), boost::system::system_error);
  EXPECT_THROW((doorbell::asio::semaphore{io, doorbell::eventfd::closed()}), boost::system::system_error);
}

TEST_F(asio_semaphore, release_is_legal_in_a_callback_and_try_acquire_is_refused_there) {
  doorbell::asio::semaphore permits{io, 0};
  permits.async_acquire(wait(0));
  const doorbell::eventfd other;
  error_code refused;
  const doorbell::notifier inside{other, [&](auto&) {
                                    permits.release();
                                    EXPECT_FALSE(permits.try_acquire(refused));
                                  }};
  other.signal();
  poll();
  EXPECT_EQ(refused, boost::system::errc::resource_deadlock_would_occur);
  EXPECT_EQ(done, numbers{0});
}

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

// Oracle: of a wait that is cancelled as the event is set, and a wait behind it, exactly one has got the set: never
// both, never neither.
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

// Oracle: each message is read exactly once and whole, by coroutines of two loops; the event is set after each change.
TEST_F(asio_sync_threads, an_auto_reset_event_hands_over_what_was_written_before) {
  constexpr int messages = 500;
  doorbell::asio::auto_reset_event filled{loops[0]};
  doorbell::asio::auto_reset_event emptied{loops[1], true};
  int box = 0;  // plain: the events order its readers and writers
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

// Oracle: every waiter of either loop runs after the set, and sees what was written before it.
TEST_F(asio_sync_threads, a_manual_reset_event_publishes_to_all_waiters) {
  constexpr std::size_t waiters = 50;
  doorbell::asio::manual_reset_event ready{loops[0]};
  int answer = 0;  // plain
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

// Oracle: what the consumers take is what the producers have put, and all end: no notify comes between the check of the
// condition and the wait.
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

// Oracle: as above, though waits are cancelled all the time; a cancelled wait checks the condition again.
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

// Oracle: the plain count is exact: a semaphore with one permit excludes coroutines of two loops and a thread.
TEST_F(asio_sync_threads, a_semaphore_with_one_permit_excludes) {
  constexpr int rounds = 200;
  doorbell::asio::semaphore permit{loops[0], 1};
  doorbell::asio::semaphore elsewhere{loops[1], permit.handle()};
  int count = 0;  // plain
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
