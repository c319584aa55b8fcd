// SPDX-License-Identifier: Apache-2.0
//
// At its end, a process signals the kernel eventfds of its accepted file I/O, because another process may wait for
// them.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "ways_to_end.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::test::in_child;

/// Calls a function in a callback in the reaper, which completes no other request meanwhile.
class in_reaper {
 public:
  explicit in_reaper(std::function<void()> body) : body_{std::move(body)} {
    read_.set_eventfd(efd_);
    EXPECT_EQ(ctx_.submit({&read_}), 1U);
    EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1);
    EXPECT_TRUE(doorbell::test::eventually([&] { return has_begun_.load(); }));
  }

 private:
  const std::function<void()> body_;
  std::atomic<bool> has_begun_{false};
  const doorbell::test::pipe_ends pipe_;
  doorbell::eventfd efd_;
  const doorbell::notifier watch_{efd_, [this](doorbell::eventfd_ctx&) {
                                    has_begun_ = true;
                                    body_();
                                  }};
  char text_ = 0;
  aio::iocb read_ = aio::prep_pread(pipe_.read.get(), &text_, 1, 0);
  aio::context ctx_{8};
};

/// A context by handle, and a request that signals a kernel eventfd.
struct signalling {
  signalling(aio::iocb_abi what, int eventfd) : asked{what} {
    EXPECT_EQ(aio::io_setup(8, &ctx), 0);
    asked.flags |= aio::iocb_abi::flag_resfd;
    asked.resfd = static_cast<std::uint32_t>(eventfd);
  }
  void submit() {
    aio::iocb_abi* one = &asked;
    EXPECT_EQ(aio::io_submit(ctx, 1, &one), 1);
  }

  aio::aio_context_t ctx = 0;
  aio::iocb_abi asked;
};

aio::iocb_abi write_of(int file) { return doorbell::test::by_engine<aio::iocb_abi>(aio::prep_pwrite(file, "x", 1, 0)); }

class aio_end_with_signals : public testing::TestWithParam<void (*)(int)> {
 protected:
  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file();
  const doorbell::base::unique_fd efd_ = doorbell::test::kernel_eventfd();
};

// Oracle: the eventfd has the count of the accepted write, although the reaper does not run until the process ends.
TEST_P(aio_end_with_signals, signals_although_the_reaper_is_busy) {
  in_child([&] {
    static std::atomic<bool> never{false};
    [[maybe_unused]] static auto& busy = *new in_reaper{[] { never.wait(false); }};
    static auto& there = *new signalling{write_of(file_.get()), efd_.get()};
    there.submit();
    GetParam()(testing::Test::HasFailure());
  });
  EXPECT_EQ(doorbell::test::take(efd_.get()), 1U);
}

// Oracle: the process ends, although the context of the write exists.
TEST_P(aio_end_with_signals, does_not_wait_for_a_signal_that_was_sent) {
  in_child([&] {
    static auto& there = *new signalling{write_of(file_.get()), efd_.get()};
    for (int round = 0; round < 3; ++round) {
      there.submit();
      aio::io_event event{};
      EXPECT_EQ(aio::io_getevents(there.ctx, 1, 1, &event, nullptr), 1);
      EXPECT_EQ(doorbell::test::take_until(efd_.get(), 1), 1U);
    }
    GetParam()(testing::Test::HasFailure());
  });
}

// Oracle: the process ends, although the read has not completed.
TEST_P(aio_end_with_signals, does_not_wait_for_the_signal_of_a_read_of_an_empty_pipe) {
  in_child([&] {
    static const auto& pipe = *new doorbell::test::pipe_ends;  // exit must not close it
    static char text = 0;
    static auto& there = *new signalling{aio::prep_pread(pipe.read.get(), &text, 1, 0), efd_.get()};
    there.submit();
    GetParam()(testing::Test::HasFailure());
  });
  EXPECT_EQ(doorbell::test::take(efd_.get()), 0U);
}

INSTANTIATE_TEST_SUITE_P(, aio_end_with_signals, testing::ValuesIn(doorbell::test::ways_to_end),
                         doorbell::test::name_of_end);

// Oracle: finish_file_io() returns, although no other thread can send the signal during the callback. The signal comes
// after the callback.
TEST(aio_end, finish_file_io_in_a_callback_stops_waiting_for_a_signal) {
  in_child([] {
    const auto file = doorbell::test::temporary_file();
    const auto efd = doorbell::test::kernel_eventfd();
    signalling there{write_of(file.get()), efd.get()};
    std::atomic<bool> has_returned{false};
    const in_reaper calls{[&] {
      there.submit();
      aio::finish_file_io();
      has_returned = true;
    }};
    EXPECT_TRUE(doorbell::test::eventually([&] { return has_returned.load(); }));
    EXPECT_EQ(doorbell::test::take_until(efd.get(), 1), 1U);
    EXPECT_EQ(aio::io_destroy(there.ctx), 0);
  });
}

}  // namespace
