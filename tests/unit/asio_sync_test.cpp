// SPDX-License-Identifier: Apache-2.0
//
// Events, condition variable and semaphore of doorbell::asio in one thread.
#include <doorbell/asio/sync.hpp>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doorbell/notifier.hpp>

namespace {

namespace net = boost::asio;
using boost::system::error_code;
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

TEST_F(asio_auto_reset_event, two_sets_before_the_loop_runs_complete_two_waits) {
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

TEST_F(asio_auto_reset_event, a_wait_for_a_set_event_completes_and_is_not_cancelled) {
  event.set();
  event.async_wait(net::bind_cancellation_slot(stop.slot(), wait(0)));
  EXPECT_EQ(done, numbers{}) << "the handler was called inside the initiating function";
  stop.emit(net::cancellation_type::total);
  event.async_wait(wait(1));
  poll();
  EXPECT_EQ(aborted, numbers{});
  EXPECT_EQ(done, numbers{0});
}

TEST_F(asio_auto_reset_event, completes_waits_of_another_loop_although_its_own_does_not_run) {
  net::io_context others;
  event.set();
  for (int i = 0; i < 2; ++i) event.async_wait(net::bind_executor(others.get_executor(), wait(i)));
  event.set();
  others.poll();
  EXPECT_EQ(done, (numbers{0, 1}));
}

TEST_F(asio_auto_reset_event, reset_discards_a_stored_set_but_not_one_that_completed_a_wait) {
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

TEST_F(asio_auto_reset_event, can_be_created_set) {
  doorbell::asio::auto_reset_event is_set{io.get_executor(), true};
  for (int i = 0; i < 2; ++i) is_set.async_wait(wait(i));
  poll();
  EXPECT_EQ(done, numbers{0});
}

TEST_F(asio_auto_reset_event, waits_and_sets_of_a_closed_event_are_refused) {
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
  auto awaited = net::use_awaitable_t<>::as_default_on(std::move(event));
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

TEST_F(asio_manual_reset_event, set_completes_all_waits_and_later_ones) {
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

TEST_F(asio_manual_reset_event, a_reset_before_the_loop_runs_does_not_affect_completed_waits) {
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

TEST_F(asio_condition_variable, notify_completes_current_waits_and_is_not_stored) {
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

TEST_F(asio_semaphore, a_callback_passed_as_an_lvalue_is_copied_by_each_wait) {
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
  EXPECT_EQ(called, 5) << "a call had a callback that was moved from";
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

TEST_F(asio_semaphore, an_acquire_after_a_release_does_not_overtake_a_waiting_one) {
  doorbell::asio::semaphore permits{io, 0};
  permits.async_acquire(wait(0));
  poll();
  permits.release();
  permits.async_acquire(wait(1));
  poll();
  EXPECT_EQ(done, numbers{0});
  permits.release();
  poll();
  EXPECT_EQ(done, (numbers{0, 1}));
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
  for (const auto& handle : {doorbell::eventfd{}, doorbell::eventfd::closed()}) {
    error_code thrown;
    try {
      const doorbell::asio::semaphore permits{io, handle};
    } catch (const boost::system::system_error& error) {
      thrown = error.code();
    }
    EXPECT_EQ(thrown, net::error::invalid_argument);
  }
  const doorbell::asio::semaphore permits{io, 1};
  EXPECT_EQ(permits.get_executor(), net::any_io_executor{io.get_executor()});
}

TEST_F(asio_semaphore, in_a_callback_release_succeeds_and_try_acquire_is_refused) {
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

}  // namespace
