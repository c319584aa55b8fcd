// SPDX-License-Identifier: Apache-2.0
//
// engine_uring alone: the results of all operations, the waits, and the loss of the ring. The engine of later contexts
// after the system has refused a ring.
#include "../../aio/engine/uring/engine_uring.hpp"

#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>

#include "failing_uring.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/files.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::eventually;
using wait_result = aio::engine::wait_result;

class lone_ring : public testing::Test {
 protected:
  static std::unique_ptr<aio::engine_uring> make() {
    std::error_code ec;
    auto made = aio::engine_uring::make(8, ec);
    EXPECT_FALSE(ec) << ec.message();
    return made;
  }
  static std::size_t start(aio::engine_uring& by, aio::request& asked) {
    aio::request* const one = &asked;
    return by.start({&one, 1});
  }
  /// Waits for the only request in flight. @return its result.
  static std::int64_t result_of(aio::engine_uring& by, const aio::request& started) {
    std::array<aio::completion, 2> done{};
    std::size_t count = 0;
    EXPECT_TRUE(eventually([&] { return (count = by.reap(done)) > 0; }));
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(done[0].done, &started);
    return done[0].res;
  }
  static std::int64_t result_of(aio::engine_uring& by, const aio::iocb& asked) {
    aio::request one{asked, nullptr};
    // A request has its own copy of the list of buffers. In the library, io_submit's check makes it (aio/io/check.cpp).
    if (asked.lio_opcode == static_cast<int>(aio::opcode::preadv) ||
        asked.lio_opcode == static_cast<int>(aio::opcode::pwritev))
      for (std::uint64_t n = 0; n < asked.nbytes; ++n)
        one.room_for_vectors(asked.nbytes)[n] = reinterpret_cast<const iovec*>(asked.buf)[n];
    EXPECT_EQ(start(by, one), 1U);
    return result_of(by, one);
  }
  static void close_by_number(int fd) { ASSERT_EQ(::syscall(SYS_close, fd), 0); }

  const doorbell::test::watchdog dog_;
  const doorbell::test::injections injected_;
  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("hello, world");
  const doorbell::test::pipe_ends pipe_;
  std::array<char, 16> text_{};
  const std::unique_ptr<aio::engine_uring> ring_ = make();
};

// Oracle: the results and the bytes are those of the system call of the same name.
TEST_F(lone_ring, carries_out_each_operation) {
  std::array<char, 2> first{};
  std::array<char, 3> second{};
  const std::array into{iovec{.iov_base = first.data(), .iov_len = first.size()},
                        iovec{.iov_base = second.data(), .iov_len = second.size()}};
  EXPECT_EQ(result_of(*ring_, aio::prep_pread(file_.get(), text_.data(), 5, 7)), 5);
  EXPECT_EQ((std::string_view{text_.data(), 5}), "world");
  EXPECT_EQ(result_of(*ring_, aio::prep_preadv(file_.get(), into, 1)), 5);
  EXPECT_EQ((std::string_view{first.data(), first.size()}), "el");
  EXPECT_EQ((std::string_view{second.data(), second.size()}), "lo,");
  EXPECT_EQ(result_of(*ring_, aio::prep_pwrite(file_.get(), "HE", 2, 0)), 2);
  EXPECT_EQ(result_of(*ring_, aio::prep_pwritev(file_.get(), into, 7)), 5);
  EXPECT_EQ(::pread(file_.get(), text_.data(), text_.size(), 0), 12);
  EXPECT_EQ((std::string_view{text_.data(), 12}), "HEllo, ello,");
  EXPECT_EQ(result_of(*ring_, aio::prep_fsync(file_.get())), 0);
  EXPECT_EQ(result_of(*ring_, aio::prep_fdsync(file_.get())), 0);
  EXPECT_EQ(result_of(*ring_, aio::prep_fsync(pipe_.read.get())), -EINVAL);
  EXPECT_EQ(result_of(*ring_, aio::prep_fdsync(pipe_.read.get())), -EINVAL);
  EXPECT_EQ(result_of(*ring_, aio::prep_poll(pipe_.write.get(), POLLOUT)), POLLOUT);
  aio::request waits{aio::prep_poll(pipe_.read.get(), POLLIN), nullptr};
  EXPECT_EQ(start(*ring_, waits), 1U);
  EXPECT_EQ(ring_->wait(std::chrono::steady_clock::now() + 1ms), wait_result::timed_out);
  EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1);
  EXPECT_EQ(result_of(*ring_, waits), POLLIN);
}

// Oracle: a completion that is no wake is not reserved for the thread that waits.
TEST_F(lone_ring, a_thread_may_reap_while_another_waits) {
  ASSERT_TRUE(ring_->begin_wait());
  EXPECT_EQ(result_of(*ring_, aio::prep_pread(file_.get(), text_.data(), 5, 0)), 5);
  ring_->end_wait();
}

// Oracle: wake() returns, and a later wait sleeps until its deadline.
TEST_F(lone_ring, a_wake_without_a_waiting_thread_has_no_effect_even_if_the_ring_refuses_entries) {
  ring_->wake();
  EXPECT_EQ(ring_->wait(std::chrono::steady_clock::now() + 1ms), wait_result::timed_out);
  doorbell::test::submitting.inject_every(EBUSY, 1);
  ring_->wake();
  doorbell::test::submitting.stop();
  EXPECT_EQ(ring_->wait(std::chrono::steady_clock::now() + 1ms), wait_result::timed_out);
}

TEST_F(lone_ring, a_wait_that_is_longer_than_one_sleep_ends_at_its_deadline) {
  const auto until = std::chrono::steady_clock::now() + 1100ms;
  EXPECT_EQ(ring_->wait(until), wait_result::timed_out);
  EXPECT_GE(std::chrono::steady_clock::now(), until);
}

// Oracle: a ring that the system refuses to enter has no descriptor, and starts nothing.
TEST_F(lone_ring, a_ring_has_no_descriptor_after_the_system_has_refused_a_wait) {
  EXPECT_GE(ring_->descriptor(), 0);
  doorbell::test::waiting.inject(EPERM, 1);
  EXPECT_EQ(ring_->wait(std::chrono::steady_clock::now() + 100ms), wait_result::ready);
  EXPECT_FALSE(ring_->works());
  EXPECT_EQ(ring_->descriptor(), -1);
  aio::request read{aio::prep_pread(file_.get(), text_.data(), 5, 0), nullptr};
  EXPECT_EQ(start(*ring_, read), 0U);
}

// Oracle: the first ring does not use the second ring's descriptor, which has the number of its own.
TEST_F(lone_ring, a_ring_whose_number_is_another_rings_does_not_work) {
  const int number = ring_->descriptor();
  close_by_number(number);
  const auto second = make();
  ASSERT_EQ(second->descriptor(), number);
  EXPECT_FALSE(ring_->works());
  EXPECT_EQ(ring_->descriptor(), -1);
  aio::request read{aio::prep_pread(file_.get(), text_.data(), 5, 0), nullptr};
  EXPECT_EQ(start(*ring_, read), 0U);
  EXPECT_EQ(start(*second, read), 1U);
  EXPECT_EQ(result_of(*second, read), 5);
}

// Oracle: no signal handler has run, so no wait reports an interruption, whatever errno was before.
TEST_F(lone_ring, a_wait_in_a_lost_ring_is_not_interrupted) {
  close_by_number(ring_->descriptor());
  aio::request read{aio::prep_pread(file_.get(), text_.data(), 5, 0), nullptr};
  EXPECT_EQ(start(*ring_, read), 0U);
  for (const auto time : {500ms, 5000ms}) {
    errno = EINTR;
    EXPECT_EQ(ring_->wait(std::chrono::steady_clock::now() + time), wait_result::ready);
  }
}

// Oracle: a refusal decides for the process, so later contexts do not try to make a ring; a shortage does not.
TEST(refused_rings, later_contexts_try_to_make_a_ring_only_after_a_shortage) {
  for (const int error : {ENOSYS, EPERM, EACCES, ENOMEM, EMFILE, ENFILE}) {
    SCOPED_TRACE(error);
    doorbell::test::in_child([&] {
      ::unsetenv("DOORBELL_ENGINE");
      const bool is_refusal = error == ENOSYS || error == EPERM || error == EACCES;
      doorbell::test::creating.inject(error, 1);
      EXPECT_EQ(aio::context{8}.engine(), "threads");
      EXPECT_TRUE(doorbell::test::creating.over());
      EXPECT_EQ(aio::context{8}.engine(), is_refusal ? "threads" : "io_uring");
    });
  }
}

}  // namespace
