// SPDX-License-Identifier: Apache-2.0
//
// A process that ends with requests in flight ends at once; what has been acknowledged is in the file.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::in_child;

/// A context with reads in flight that nothing will ever complete; one of them has a bell, and so the reaper runs.
struct forlorn {
  explicit forlorn(unsigned nr_events) : ctx{nr_events} {
    reads[0].set_eventfd(bell);
    for (auto& read : reads) EXPECT_EQ(ctx.submit({&read}), 1U);
  }

  doorbell::test::pipe_ends pipe;
  doorbell::eventfd bell;
  std::array<char, 8> text{};
  std::vector<aio::iocb> reads{4, aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0)};
  aio::context ctx;
};

// Destroyed after all statics that were first used later than main began, doorbell's among them.
std::optional<forlorn> made_before_everything;

forlorn& never_destroyed() { return *new forlorn{8}; }

class aio_exit : public testing::TestWithParam<void (*)(int)> {};

TEST_P(aio_exit, does_not_wait_for_requests_in_flight) {
  in_child([] {
    static forlorn& one = never_destroyed();
    (void)one;
    GetParam()(testing::Test::HasFailure());
  });
}

TEST_P(aio_exit, does_not_wait_for_those_of_a_static_object) {
  in_child([] {
    made_before_everything.emplace(8);
    GetParam()(testing::Test::HasFailure());
  });
}

TEST_P(aio_exit, does_not_mind_threads_that_are_at_it) {
  in_child([] {
    static std::atomic<int> submitted{0};
    static forlorn& one = never_destroyed();
    for (int n = 0; n < 2; ++n)
      std::thread{[&mine = one.reads[static_cast<std::size_t>(n)]] {
        for (;;) {
          std::array<aio::io_event, 4> events{};
          std::error_code ec;
          submitted += one.ctx.submit({&mine}, ec) == 1;
          one.ctx.cancel(mine, ec);
          (void)one.ctx.get_events(0, events, ec);
        }
      }}.detach();
    while (submitted < 100) std::this_thread::yield();
    GetParam()(testing::Test::HasFailure());
  });
}

INSTANTIATE_TEST_SUITE_P(, aio_exit, testing::Values(&::exit, &::_exit, &::quick_exit));

TEST(aio_end, an_exit_handler_can_still_submit) {
  in_child([] {
    made_before_everything.emplace(8);
    std::atexit([] {
      auto& there = *made_before_everything;
      const auto file = doorbell::test::temporary_file("hello");
      auto read = doorbell::test::by_engine(aio::prep_pread(file.get(), there.text.data(), there.text.size(), 0));
      std::array<aio::io_event, 1> events{};
      if (there.ctx.submit({&read}) != 1 || there.ctx.get_events(1, events, 20s).size() != 1 || events[0].res != 5)
        ::_exit(EXIT_FAILURE);
    });
    std::exit(testing::Test::HasFailure());
  });
}

TEST(aio_end, a_write_whose_event_was_got_is_in_the_file) {
  const auto file = doorbell::test::temporary_file();
  const std::string text(100'000, 'w');
  in_child([&] {
    auto& there = never_destroyed();
    auto write = aio::prep_pwrite(file.get(), text.data(), text.size(), 0);
    ASSERT_EQ(there.ctx.submit({&write}), 1U);
    std::array<aio::io_event, 1> events{};
    ASSERT_EQ(there.ctx.get_events(1, events, 20s).size(), 1U);
    ASSERT_EQ(events[0].res, static_cast<std::int64_t>(text.size()));
  });
  std::string found(text.size() + 1, '\0');
  found.resize(static_cast<std::size_t>(::pread(file.get(), found.data(), found.size(), 0)));
  EXPECT_EQ(found, text);
}

TEST(aio_end, a_write_whose_bell_rang_is_in_the_file) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    auto& there = never_destroyed();
    const doorbell::eventfd bell;
    auto write = aio::prep_pwrite(file.get(), "written", 7, 0);
    write.set_eventfd(bell);
    ASSERT_EQ(there.ctx.submit({&write}), 1U);
    EXPECT_EQ(bell.read_for(20s), 1U);
  });
  std::array<char, 8> found{};
  EXPECT_EQ(::pread(file.get(), found.data(), found.size(), 0), 7);
  EXPECT_STREQ(found.data(), "written");
}

}  // namespace
