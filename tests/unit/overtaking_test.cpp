// SPDX-License-Identifier: Apache-2.0
//
// What must be one step under the queue's lock, with somebody who sleeps for that lock and is through with it before the
// next step, were there one. No luck is needed: the lock is kept until both stand in line, and who comes first is slow.
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
    const auto ctx = bell_.context();
    const eventfd_ctx_lock held{*ctx};
    body();
  }
  void register_slowly() {
    first_.emplace([this] { ready_ = watcher_.register_with(bell_); });
  }
  void signal_in_line() {
    second_.emplace([this] { bell_.signal(); });
  }
  void join() {
    first_->join();
    second_->join();
  }

  const doorbell::test::watchdog dog_;
  eventfd bell_;
  int calls_ = 0;
  bool ready_ = false;
  notifier watcher_{[this](auto&) { ++calls_; }};
  std::optional<in_line_and_slow> first_;
  std::optional<in_line> second_;
};

// Oracle: never both, never neither: the signal calls, or is in the answer.
TEST_F(overtaking, a_signal_right_after_register_calls) {
  with_lock_held([this] {
    register_slowly();
    signal_in_line();
  });
  join();
  EXPECT_EQ((ready_ ? 1 : 0) + calls_, 1);
}

TEST_F(overtaking, a_signal_right_before_register_is_in_its_answer) {
  with_lock_held([this] {
    signal_in_line();
    register_slowly();
  });
  join();
  EXPECT_EQ((ready_ ? 1 : 0) + calls_, 1);
}

// Oracle: what is taken on the way out is what called before.
TEST_F(overtaking, a_signal_right_after_unregister_and_read_neither_calls_nor_is_read) {
  watcher_.register_with(bell_);
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
  EXPECT_EQ(taken + bell_.info().count, 1U);
}

// Oracle: the read has it; it does not sleep beside a count.
TEST_F(overtaking, a_signal_on_the_way_to_sleep_ends_the_read) {
  std::uint64_t got = 0;
  with_lock_held([&] {
    first_.emplace([&] { got = bell_.read(); });
    signal_in_line();
  });
  join();
  EXPECT_EQ(got, 1U);
}

// Oracle: a read that gives up while its signal is under way has the count, or leaves it; it is not lost.
TEST_F(overtaking, a_read_that_gives_up_too_late_has_what_it_was_handed) {
  std::stop_source stop;
  std::uint64_t got = 0;
  std::error_code ec;
  in_line reader{[&] { got = bell_.read(stop.get_token(), ec); }};
  with_lock_held([&] {
    signal_in_line();
    stop.request_stop();
    EXPECT_TRUE(reader.still_asleep());
  });
  second_->join();
  reader.join();
  EXPECT_EQ(got, ec ? 0U : 1U);
  EXPECT_EQ(got + bell_.info().count, 1U);
}

// Oracle: a close sleeps until whoever is at the queue has ended.
TEST_F(overtaking, the_last_close_waits_for_the_lock) {
  with_lock_held([this] { first_.emplace([this] { bell_.close(); }); });
  first_->join();
  EXPECT_FALSE(bell_.is_open());
}

}  // namespace
