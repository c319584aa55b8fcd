// SPDX-License-Identifier: Apache-2.0
//
// The state that engine_failover reports, also after the ring is lost, and the requests that it starts again
// after the ring has ended them.
#include "../../aio/engine/choice/engine_failover.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "support/asleep.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::eventually;

class failover : public testing::Test {
 protected:
  static std::unique_ptr<aio::engine_uring> make_ring() {
    std::error_code ec;
    auto made = aio::engine_uring::make(8, ec);
    EXPECT_FALSE(ec) << ec.message();
    return made;
  }
  void start(aio::request& asked) {
    aio::request* const one = &asked;
    ASSERT_EQ(both_.start({&one, 1}), 1U);
  }
  /// Lets the next requests of this thread go to the ring.
  void gain_habit() {
    for (unsigned n = 0; n < aio::getter_habit::enough_sleeps; ++n) both_.note_sleep();
  }
  [[nodiscard]] std::optional<aio::completion> reap() {
    std::array<aio::completion, 1> done{};
    return both_.reap(done) == 1 ? std::optional{done[0]} : std::nullopt;
  }
  /// @return the result of the only request in flight.
  std::int64_t result_of(const aio::request& started) {
    std::optional<aio::completion> done;
    EXPECT_TRUE(eventually([&] { return (done = reap()).has_value(); }));
    EXPECT_EQ(done ? done->done : nullptr, &started);
    return done ? done->res : 0;
  }
  /// Closes the ring's descriptor, as a program may that closes all descriptors.
  void lose_ring() {
    ASSERT_EQ(::syscall(SYS_close, both_.descriptors()[0]), 0);
    std::ignore = both_.descriptors();
  }
  static void complete(const doorbell::test::pipe_ends& pipe) { EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1); }

  const doorbell::test::watchdog dog_;
  doorbell::test::pipe_ends pipe_;
  doorbell::test::pipe_ends of_ring_;
  aio::request waiting_{aio::prep_poll(pipe_.read.get(), POLLIN), nullptr};  // for the I/O threads
  aio::request ready_{aio::prep_poll(pipe_.write.get(), POLLOUT), nullptr};
  char byte_ = 0;
  aio::request in_ring_{aio::prep_pread(of_ring_.read.get(), &byte_, 1, 0), nullptr};
  aio::engine_failover both_{make_ring(), 8};
};

TEST_F(failover, has_finished_some_from_an_inline_completion_until_the_reap) {
  EXPECT_FALSE(both_.has_finished_some());
  start(waiting_);
  EXPECT_FALSE(both_.has_finished_some());
  start(ready_);
  EXPECT_TRUE(both_.has_finished_some());
  EXPECT_EQ(result_of(ready_), POLLOUT);
  EXPECT_FALSE(both_.has_finished_some());
  complete(pipe_);
  EXPECT_EQ(result_of(waiting_), POLLIN);
}

// Oracle: after each event that changes the descriptors, the number of replacements differs from the one before.
TEST_F(failover, replacements_change_with_the_first_io_threads_and_with_the_loss_of_the_ring) {
  const auto at_first = both_.replacements();
  start(ready_);
  const auto with_io_threads = both_.replacements();
  EXPECT_NE(with_io_threads, at_first);
  EXPECT_EQ(result_of(ready_), POLLOUT);
  lose_ring();
  EXPECT_NE(both_.replacements(), with_io_threads);
}

TEST_F(failover, without_io_threads_a_lost_ring_has_no_descriptor_until_a_request_is_started) {
  const int lost = both_.descriptor();
  EXPECT_GE(lost, 0);
  const auto before = both_.replacements();
  lose_ring();
  EXPECT_EQ(both_.descriptor(), -1);
  EXPECT_EQ(both_.descriptors(), (std::array{-1, -1}));
  EXPECT_TRUE(both_.must_be_looked_at());
  EXPECT_NE(both_.replacements(), before);
  start(ready_);
  const int now = both_.descriptor();
  EXPECT_TRUE(doorbell::test::readable(now));
  EXPECT_EQ(both_.descriptors(), (std::array{now, -1}));
  EXPECT_EQ(result_of(ready_), POLLOUT);
  EXPECT_FALSE(doorbell::test::readable(now));
}

// Oracle: one descriptor announces all completions once the program waits for it.
TEST_F(failover, a_program_that_waits_for_the_descriptor_needs_no_other) {
  start(waiting_);
  EXPECT_GE(both_.descriptors()[1], 0);
  const int only = both_.descriptor();
  EXPECT_EQ(both_.descriptors(), (std::array{only, -1}));
  EXPECT_FALSE(both_.must_be_looked_at());
  EXPECT_FALSE(doorbell::test::readable(only));
  complete(pipe_);
  EXPECT_TRUE(eventually([&] { return doorbell::test::readable(only); }));
  EXPECT_EQ(result_of(waiting_), POLLIN);
}

// Oracle: the descriptor of the ring is not readable after a call that has found no completion. A wakeup was in the
// ring, and the thread that sleeps does so at the I/O threads.
TEST(failover_with_a_sleeper, a_wakeup_in_the_ring_does_not_stay_while_the_thread_sleeps_at_the_io_threads) {
  const doorbell::test::watchdog dog;
  const doorbell::test::pipe_ends pipe;
  aio::request waiting{aio::prep_poll(pipe.read.get(), POLLIN), nullptr};
  std::error_code ec;
  auto made = aio::engine_uring::make(8, ec);
  ASSERT_FALSE(ec) << ec.message();
  auto& ring = *made;
  aio::engine_failover both{std::move(made), 8};
  const int descriptor = both.descriptor();
  aio::request* const one = &waiting;
  ASSERT_EQ(both.start({&one, 1}), 1U);
  std::array<aio::completion, 1> done{};
  {
    const doorbell::test::asleep sleeper{[&] {
      EXPECT_TRUE(both.begin_wait());
      EXPECT_EQ(both.wait({}), aio::engine::wait_result::ready);
      both.end_wait();
    }};
    ring.wake();
    EXPECT_TRUE(eventually([&] { return doorbell::test::readable(descriptor); }));
    EXPECT_EQ(both.reap(done), 0U);
    EXPECT_FALSE(doorbell::test::readable(descriptor));
    EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1);
  }
  EXPECT_TRUE(eventually([&] { return both.reap(done) == 1; }));
}

// Oracle: in the quickest of a few rounds, the thread wakes long before its periodic check.
TEST_F(failover, a_thread_that_sleeps_at_both_wakes_although_the_reaper_ignores_the_descriptors) {
  auto shortest = std::chrono::steady_clock::duration::max();
  for (int round = 0; round < 3; ++round) {
    const doorbell::test::pipe_ends pipe;
    const doorbell::test::pipe_ends of_ring;
    aio::request waiting{aio::prep_poll(pipe.read.get(), POLLIN), nullptr};
    aio::request in_ring{aio::prep_pread(of_ring.read.get(), &byte_, 1, 0), nullptr};
    in_ring.ends_by_itself = in_ring.is_direct = true;
    gain_habit();
    start(in_ring);
    start(waiting);
    auto woken = aio::engine::wait_result::timed_out;
    std::chrono::steady_clock::time_point began;
    {
      const doorbell::test::asleep waiter{[&] {
        EXPECT_TRUE(both_.begin_wait());
        woken = both_.wait({});
        both_.end_wait();
      }};
      both_.ignore_descriptors();
      began = std::chrono::steady_clock::now();
      complete(pipe);
    }
    shortest = std::min(shortest, std::chrono::steady_clock::now() - began);
    EXPECT_EQ(woken, aio::engine::wait_result::ready);
    EXPECT_EQ(result_of(waiting), POLLIN);
    complete(of_ring);
    EXPECT_EQ(result_of(in_ring), 1);
  }
  EXPECT_LT(shortest, 500ms);
}

// The ring ends a request that no thread has cancelled, as io_uring does when the submitting thread ends. Oracle: the
// request is started again if its number still names its file, and then has the file's result. Otherwise it fails, and
// the file that has the number now keeps its bytes.
TEST_F(failover, a_request_that_the_ring_has_ended_is_started_again_for_the_same_file_only) {
  enum class change { none, device, inode, number };
  for (const auto changed : {change::none, change::device, change::inode, change::number}) {
    SCOPED_TRACE(static_cast<int>(changed));
    const doorbell::test::pipe_ends own;
    const doorbell::test::pipe_ends other;
    const doorbell::base::unique_fd number{::fcntl(own.read.get(), F_DUPFD_CLOEXEC, 0)};
    struct stat status{};
    ASSERT_EQ(::fstat(number.get(), &status), 0);
    aio::request read{aio::prep_pread(number.get(), &byte_, 1, 0), nullptr};
    read.ends_by_itself = read.is_direct = true;
    read.device = status.st_dev + (changed == change::device ? 1 : 0);
    read.inode = status.st_ino + (changed == change::inode ? 1 : 0);
    gain_habit();
    start(read);
    if (changed == change::number) {
      ASSERT_EQ(::dup3(other.read.get(), number.get(), O_CLOEXEC), number.get());
    }
    EXPECT_EQ(::write(other.write.get(), "o", 1), 1);
    ASSERT_EQ(both_.cancel(read), aio::engine::cancel_result::asked);
    if (changed == change::none) {
      EXPECT_TRUE(eventually([&] {
        EXPECT_FALSE(reap());
        return read.is_with_threads.load();
      }));
      complete(own);
      EXPECT_EQ(result_of(read), 1);
      EXPECT_EQ(byte_, 'x');
    } else {
      EXPECT_EQ(result_of(read), -ECANCELED);
    }
    EXPECT_EQ(::read(other.read.get(), &byte_, 1), 1);
    EXPECT_EQ(byte_, 'o');
  }
}

}  // namespace
