// SPDX-License-Identifier: Apache-2.0
//
// engine_threads with requests in the kernel's AIO: the buffers of a vectored request, several engines in one process,
// and the state that the engine reports.
#include "../../aio/engine/threads/engine_threads.hpp"

#include <doorbell/aio_iocb.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

#include "direct_transfers.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::block_size;
using doorbell::test::eventually;
using doorbell::test::in_child;
using wait_result = aio::engine::wait_result;

class engine_of_direct_requests : public doorbell::test::direct {
 protected:
  static aio::io_threads& io_threads() {
    static aio::io_threads& made = *new aio::io_threads{{.most_workers = 1, .idle_time = 1h}, 1};
    return made;
  }
  static void start(aio::engine_threads& by, aio::request& asked) {
    asked.may_use_kernel_aio = true;
    aio::request* const one = &asked;
    ASSERT_EQ(by.start({&one, 1}), 1U);
  }
  /// @return the result of the only request in flight.
  static std::int64_t result_of(aio::engine_threads& by, const aio::request& started) {
    std::array<aio::completion, 2> done{};
    std::size_t count = 0;
    EXPECT_TRUE(eventually([&] { return (count = by.reap(done)) > 0; }));
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(done[0].done, &started);
    EXPECT_EQ(started.answered, aio::request_observer::answered_by::kernel_aio);
    return done[0].res;
  }

  doorbell::test::pipe_ends pipe_;
  /// Stays in the kernel until let_go(), and then has the result `there`.
  aio::request long_{aio::prep_poll(pipe_.read.get(), POLLIN), nullptr};
  static constexpr std::int64_t there = POLLIN | POLLRDNORM;
  void let_go() const { ASSERT_EQ(::write(pipe_.write.get(), "x", 1), 1); }
};

// Oracle: the bytes go to the buffers that were in the list when it was checked, although the program has changed its
// list since then.
TEST_F(engine_of_direct_requests, a_vectored_request_has_the_buffers_that_were_checked) {
  aio::engine_threads carrier{io_threads()};
  std::array parts{iovec{.iov_base = memory[0], .iov_len = block_size},
                   iovec{.iov_base = memory[1], .iov_len = block_size}};
  aio::request read{aio::prep_preadv(file.get(), parts, 2 * block_size), nullptr};
  std::ranges::copy(parts, read.room_for_vectors(parts.size()));
  for (auto& each : parts) each.iov_base = memory[3];
  start(carrier, read);
  EXPECT_EQ(result_of(carrier, read), 2 * block_size);
  EXPECT_EQ(memory[0][0], doorbell::test::letter_of(2));
  EXPECT_EQ(memory[1][0], doorbell::test::letter_of(3));
  EXPECT_EQ(memory[3][0], 0);
}

// The engines use the same context of the kernel one after another. Oracle: a wake ends the wait in the engine for
// which it was meant, and is no completion of any engine.
TEST_F(engine_of_direct_requests, wakes_of_several_engines_are_no_completions) {
  for (int n = 0; n < 4; ++n) {
    aio::engine_threads carrier{io_threads()};
    aio::request waits{long_.iocb, nullptr};
    start(carrier, waits);
    auto woken = wait_result::timed_out;
    {
      const doorbell::test::asleep waiter{[&] { woken = carrier.wait(std::chrono::steady_clock::now() + 20s); }};
      carrier.wake();
    }
    EXPECT_EQ(woken, wait_result::ready);
    std::array<aio::completion, 1> done{};
    EXPECT_EQ(carrier.reap(done), 0U);
    let_go();
    EXPECT_EQ(result_of(carrier, waits), there);
    char byte = 0;
    ASSERT_EQ(::read(pipe_.read.get(), &byte, 1), 1);
  }
}

// Oracle: without requests in the kernel, a wait sleeps until its deadline.
TEST_F(engine_of_direct_requests, a_wait_after_the_last_request_ends_at_its_deadline) {
  aio::engine_threads carrier{io_threads()};
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() + 50ms), wait_result::timed_out);
  start(carrier, long_);
  let_go();
  EXPECT_EQ(result_of(carrier, long_), there);
  EXPECT_EQ(carrier.wait(std::chrono::steady_clock::now() + 50ms), wait_result::timed_out);
}

// The kernel gives number 0 to the descriptor, because no other number is free. Oracle: the descriptor announces the
// completion.
TEST_F(engine_of_direct_requests, a_descriptor_with_number_0_announces_a_completion_in_the_kernel) {
  in_child([&] {
    aio::kernel_aio::forget_spares_in_child();  // no context of this program does that after fork(2)
    auto& own = *new aio::io_threads{{.most_workers = 1, .idle_time = 1h}, 2};
    ASSERT_FALSE(own.start());
    aio::engine_threads carrier{own};
    ASSERT_EQ(::close(STDIN_FILENO), 0);
    int number = -1;
    {
      const doorbell::test::no_more_fds meanwhile{1};
      number = carrier.descriptor();
    }
    EXPECT_EQ(number, 0);
    start(carrier, long_);
    let_go();
    EXPECT_TRUE(eventually([&] { return doorbell::test::readable(number); }));
    EXPECT_EQ(result_of(carrier, long_), there);
  });
}

TEST_F(engine_of_direct_requests, a_completion_in_the_kernel_must_be_looked_at_until_it_is_reaped) {
  aio::engine_threads carrier{io_threads()};
  start(carrier, long_);
  EXPECT_FALSE(carrier.has_completions());
  EXPECT_FALSE(carrier.must_be_looked_at());
  let_go();
  EXPECT_TRUE(eventually([&] { return carrier.has_completions(); }));
  EXPECT_TRUE(carrier.must_be_looked_at());
  EXPECT_EQ(result_of(carrier, long_), there);
  EXPECT_FALSE(carrier.has_completions());
  EXPECT_FALSE(carrier.must_be_looked_at());
}

// The kernel checks such a request, and announces its completion to no descriptor of the engine.
TEST_F(engine_of_direct_requests, a_request_that_is_left_to_the_kernel_must_be_looked_at_until_it_is_reaped) {
  aio::engine_threads carrier{io_threads()};
  long_.is_left_to_kernel = true;
  start(carrier, long_);
  EXPECT_TRUE(carrier.must_be_looked_at());
  EXPECT_FALSE(carrier.has_completions());
  let_go();
  EXPECT_EQ(result_of(carrier, long_), there);
  EXPECT_FALSE(carrier.must_be_looked_at());
}

}  // namespace
