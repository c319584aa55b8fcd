// SPDX-License-Identifier: Apache-2.0
//
// Calls that must be one step under the queue's lock. If a call were two steps, a second thread that sleeps for the
// lock would acquire it and return between them. The tests do not depend on chance: this thread holds the lock until
// both threads sleep for it, and the first of them is slow, because it has the lowest priority on the CPU that both
// share.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <stop_token>
#include <system_error>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "support/overtaking.hpp"
#include "support/watchdog.hpp"

namespace {

using doorbell::eventfd;
using doorbell::eventfd_ctx_lock;
using doorbell::notifier;
using doorbell::test::in_line;
using doorbell::test::in_line_and_slow;

class overtaking : public testing::Test {
 protected:
  /// Calls `body` while this thread holds the lock.
  template <class Body>
  void with_lock_held(Body body) {
    const auto ctx = efd_.context();
    const eventfd_ctx_lock held{*ctx};
    body();
  }
  void register_slowly() {
    first_.emplace([this] { ready_ = watcher_.register_with(efd_); });
  }
  void signal_in_line() {
    second_.emplace([this] { efd_.signal(); });
  }
  void join() {
    first_->join();
    second_->join();
  }

  const doorbell::test::watchdog dog_;
  eventfd efd_;
  int calls_ = 0;
  bool ready_ = false;
  notifier watcher_{[this](auto&) { ++calls_; }};
  std::optional<in_line_and_slow> first_;
  std::optional<in_line> second_;
};

// Oracle: exactly one of the two reports the signal: the notifier's callback or the result of register_with().
TEST_F(overtaking, a_signal_queued_behind_register_is_reported_exactly_once) {
  with_lock_held([this] {
    register_slowly();
    signal_in_line();
  });
  join();
  EXPECT_EQ((ready_ ? 1 : 0) + calls_, 1);
}

TEST_F(overtaking, a_signal_queued_before_register_is_reported_exactly_once) {
  with_lock_held([this] {
    signal_in_line();
    register_slowly();
  });
  join();
  EXPECT_EQ((ready_ ? 1 : 0) + calls_, 1);
}

// Oracle: unregister_and_read() takes exactly the count of the signals that called the notifier before.
TEST_F(overtaking, a_signal_right_after_unregister_and_read_neither_calls_nor_is_read) {
  watcher_.register_with(efd_);
  std::uint64_t taken = 0;
  with_lock_held([&] {
    first_.emplace([&] {
      std::error_code nothing_to_read;
      watcher_.unregister_and_read(taken, nothing_to_read);
    });
    signal_in_line();
  });
  join();
  EXPECT_EQ(taken, static_cast<std::uint64_t>(calls_));
  EXPECT_EQ(taken + efd_.info().count, 1U);
}

// Oracle: the read gets the count; it does not sleep while there is a count.
TEST_F(overtaking, a_signal_while_a_read_goes_to_sleep_ends_it) {
  std::uint64_t got = 0;
  with_lock_held([&] {
    first_.emplace([&] { got = efd_.read(); });
    signal_in_line();
  });
  join();
  EXPECT_EQ(got, 1U);
}

// Oracle: a read that is stopped while a signal is being delivered returns the count, or leaves it in the eventfd; the
// count is not lost.
TEST_F(overtaking, a_read_stopped_too_late_returns_the_count_or_leaves_it) {
  std::stop_source stop;
  std::uint64_t got = 0;
  std::error_code ec;
  in_line reader{[&] { got = efd_.read(stop.get_token(), ec); }};
  with_lock_held([&] {
    signal_in_line();
    stop.request_stop();
    EXPECT_TRUE(reader.still_asleep());
  });
  second_->join();
  reader.join();
  EXPECT_EQ(got, ec ? 0U : 1U);
  EXPECT_EQ(got + efd_.info().count, 1U);
}

// Oracle: a close sleeps until the thread that holds the queue's lock has released it.
TEST_F(overtaking, the_last_close_waits_for_the_lock) {
  with_lock_held([this] { first_.emplace([this] { efd_.close(); }); });
  first_->join();
  EXPECT_FALSE(efd_.is_open());
}

}  // namespace
