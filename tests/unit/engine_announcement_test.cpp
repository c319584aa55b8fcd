// SPDX-License-Identifier: Apache-2.0
//
// engine_uring::announce(), call by call. A thread that is marked as the reaper's plays the reaper.
#include "../../aio/engine/choice/engine_failover.hpp"
#include "../../aio/engine/uring/engine_uring.hpp"
#include "../../aio/system/reaper_thread.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "failing_uring.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

using namespace doorbell::aio;
using doorbell::test::eventually;
using doorbell::test::readable;

// The completion queue of a ring that is made for 8 requests.
constexpr std::size_t completions_of_ring = 16;

class engine_announcement : public testing::Test {
 protected:
  engine_announcement() {
    std::error_code ec;
    auto made = engine_uring::make(8, ec);
    EXPECT_FALSE(ec) << ec.message();
    ring_ = made.get();
    both_ = std::make_unique<engine_failover>(std::move(made), 8);
    descriptor_ = both_->descriptor();
  }
  /// Puts completions into the ring.
  void complete_reads(std::size_t count) {
    request* const one = &asked_;
    for (std::size_t n = 0; n < count; ++n) ASSERT_EQ(ring_->start({&one, 1}), 1U);
  }
  std::size_t reap() {
    std::array<completion, 8> done;
    return ring_->reap(done);
  }
  std::size_t reap_by_reaper() {
    std::size_t count = 0;
    std::jthread{[&] {
      reaper_thread::note_this_thread();
      count = reap();
    }}.join();
    return count;
  }

  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("x");
  char byte_ = 0;
  const iocb read_ = prep_pread(file_.get(), &byte_, 1, 0);
  request asked_{read_, &read_};
  engine_uring* ring_ = nullptr;
  std::unique_ptr<engine_failover> both_;
  int descriptor_ = -1;
};

// Oracle: the descriptor is readable, and no request is counted, from announce() until the reap of the program.
TEST_F(engine_announcement, makes_the_descriptor_readable_until_a_thread_of_the_program_reaps) {
  EXPECT_FALSE(readable(descriptor_));
  ring_->announce();
  ring_->announce();
  EXPECT_TRUE(readable(descriptor_));
  EXPECT_FALSE(ring_->has_requests());
  EXPECT_EQ(reap(), 0U);
  EXPECT_FALSE(readable(descriptor_));
  EXPECT_FALSE(ring_->has_requests());
  ring_->announce();
  EXPECT_TRUE(readable(descriptor_));
}

// Oracle: the ring has submitted no other announcement, whose completion would be an edge for the reaper's epoll.
TEST_F(engine_announcement, stays_in_the_ring_while_only_the_reaper_reaps) {
  ring_->announce();
  const doorbell::base::unique_fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event edge{};
  edge.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, descriptor_, &edge), 0);
  ASSERT_EQ(::epoll_wait(epoll.get(), &edge, 1, 0), 1);
  EXPECT_EQ(reap_by_reaper(), 0U);
  EXPECT_TRUE(readable(descriptor_));
  EXPECT_EQ(::epoll_wait(epoll.get(), &edge, 1, 0), 0);
}

// Oracle: the reaper gets the completion, and the descriptor stays readable for the program.
TEST_F(engine_announcement, does_not_keep_the_reaper_from_a_completion_behind_it) {
  ring_->announce();
  complete_reads(1);
  EXPECT_TRUE(eventually([&] { return reap_by_reaper() == 1; }));
  EXPECT_TRUE(readable(descriptor_));
  EXPECT_FALSE(ring_->has_requests());
  EXPECT_EQ(reap(), 0U);
  EXPECT_FALSE(readable(descriptor_));
}

// Oracle: the reaper gets each completion, also those for which the completion queue had no room, although the
// announcement is the last entry of the queue.
TEST_F(engine_announcement, does_not_keep_the_reaper_from_completions_that_the_queue_has_no_room_for) {
  constexpr std::size_t before = completions_of_ring - 1;
  constexpr std::size_t behind = 3;
  complete_reads(before);
  ring_->announce();
  complete_reads(behind);
  std::size_t got = 0;
  EXPECT_TRUE(eventually([&] { return (got += reap_by_reaper()) >= before + behind; })) << got;
  EXPECT_TRUE(readable(descriptor_));
  EXPECT_EQ(reap(), 0U);
  EXPECT_FALSE(readable(descriptor_));
}

// Oracle: the descriptor is readable after the call, which no other call follows.
TEST_F(engine_announcement, is_tried_again_while_the_ring_refuses_it) {
  const doorbell::test::injections until_the_end;
  doorbell::test::submitting.inject(EAGAIN, 3);
  ring_->announce();
  EXPECT_TRUE(doorbell::test::submitting.over());
  EXPECT_TRUE(readable(descriptor_));
}

// Oracle: the call returns although the ring refuses the entry for as long as it has a completion. After the reaper has
// fetched the completion, the descriptor is readable; after a thread of the program has, it is not.
TEST_F(engine_announcement, refused_while_there_are_completions_is_made_by_the_next_reap_of_the_reaper) {
  for (const bool by_reaper : {true, false}) {
    complete_reads(1);
    ASSERT_TRUE(eventually([&] { return readable(descriptor_); }));
    {
      const doorbell::test::injections until_here;
      doorbell::test::submitting.inject(EBUSY, 1'000'000);
      ring_->announce();
      EXPECT_FALSE(doorbell::test::submitting.over());
    }
    EXPECT_EQ(by_reaper ? reap_by_reaper() : reap(), 1U);
    EXPECT_EQ(readable(descriptor_), by_reaper);
    EXPECT_EQ(reap(), 0U);
  }
}

}  // namespace
