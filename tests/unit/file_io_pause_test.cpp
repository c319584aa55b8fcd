// SPDX-License-Identifier: Apache-2.0
//
// The gate that a thread keeps closed while it waits for file I/O: closed for other threads, but not for that thread
// itself, whose signal handlers may submit.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
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

}  // namespace
