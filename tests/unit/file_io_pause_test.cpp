// SPDX-License-Identifier: Apache-2.0
//
// The gate that a thread keeps closed while it waits for file I/O: closed for other threads, but not for that thread
// itself, whose signal handlers may submit.
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "../../aio/context/process_end.hpp"
#include "support/asleep.hpp"
#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

// Oracle: submit accepts the thread's own writes during the pause, during an inner pause, and after the inner one. It
// accepts another thread's write when the pause has ended. Each write has its event.
TEST(file_io_pause, delays_the_submits_of_other_threads_only) {
  doorbell::test::in_child([] {
    const auto file = doorbell::test::temporary_file();
    const char text = 'x';
    aio::context ctx{8};
    std::array<aio::iocb, 4> writes;
    writes.fill(doorbell::test::by_engine(aio::prep_pwrite(file.get(), &text, 1, 0)));
    std::atomic<bool> is_accepted{false};
    {
      std::optional<aio::file_io_pause> pause{std::in_place};
      EXPECT_EQ(ctx.submit({&writes[0]}), 1U);
      {
        const aio::file_io_pause inner;
        EXPECT_EQ(ctx.submit({&writes[1]}), 1U);
      }
      EXPECT_EQ(ctx.submit({&writes[2]}), 1U);
      doorbell::test::asleep other{[&] {
        EXPECT_EQ(ctx.submit({&writes[3]}), 1U);
        is_accepted = true;
      }};
      EXPECT_FALSE(is_accepted);
      pause.reset();
      other.join();
      EXPECT_TRUE(is_accepted);
    }
    EXPECT_FALSE(aio::submission_gate::is_closed());
    std::array<aio::io_event, 4> events{};
    EXPECT_EQ(ctx.get_events(events.size(), events, 20s).size(), events.size());
  });
}

// Oracle: submit returns in another thread while the pause exists.
TEST(file_io_pause, does_not_delay_requests_that_are_no_file_io) {
  doorbell::test::in_child([] {
    const doorbell::test::pipe_ends pipe;
    char text = 0;
    auto read = aio::prep_pread(pipe.read.get(), &text, 1, 0);
    aio::context ctx{8};
    const aio::file_io_pause pause;
    std::thread{[&] { EXPECT_EQ(ctx.submit({&read}), 1U); }}.join();
  });
}

// Oracle: the callback returns in another thread while the pause exists, and its write was refused: other threads
// cannot complete their requests during the callback.
TEST(file_io_pause, refuses_the_file_io_of_a_callback) {
  doorbell::test::in_child([] {
    const auto file = doorbell::test::temporary_file();
    auto write = doorbell::test::by_engine(aio::prep_pwrite(file.get(), "x", 1, 0));
    aio::context ctx{8};
    doorbell::eventfd efd;
    std::error_code ec;
    const doorbell::notifier watch{efd, [&](doorbell::eventfd_ctx&) { EXPECT_EQ(ctx.submit({&write}, ec), 0U); }};
    const aio::file_io_pause pause;
    std::thread{[&] { efd.signal(); }}.join();
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
  });
}

}  // namespace
