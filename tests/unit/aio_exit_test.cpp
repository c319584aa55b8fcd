// SPDX-License-Identifier: Apache-2.0
//
// A process that exits with requests in flight completes its accepted file I/O, and does not wait for other requests.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>
#include <linux/fs.h>
#include <unistd.h>

#include <algorithm>
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
#include "ways_to_end.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::in_child;

/// A context with reads in flight that never complete. One of them has an eventfd, so that the reaper runs.
struct forlorn {
  explicit forlorn(unsigned nr_events) : ctx{nr_events} {
    reads[0].set_eventfd(efd);
    for (auto& read : reads) EXPECT_EQ(ctx.submit({&read}), 1U);
  }

  doorbell::test::pipe_ends pipe;
  doorbell::eventfd efd;
  std::array<char, 8> text{};
  std::vector<aio::iocb> reads{4, aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0)};
  aio::context ctx;
};

// Destroyed after all statics that are first used after main() has begun, including those of doorbell.
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

TEST_P(aio_exit, does_not_wait_for_requests_of_a_static_context) {
  in_child([] {
    made_before_everything.emplace(8);
    GetParam()(testing::Test::HasFailure());
  });
}

TEST_P(aio_exit, does_not_wait_for_threads_that_submit_and_cancel) {
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

/// A context with file writes in flight, and another one with reads that never complete.
struct writes_in_flight {
  static constexpr std::size_t count = 64;
  static constexpr std::size_t block = 4096;

  explicit writes_in_flight(int file, int rw_flags = 0) {
    for (std::size_t n = 0; n < count; ++n)
      writes.push_back(
          doorbell::test::by_engine(aio::prep_pwrite(file, text.data(), block, static_cast<std::int64_t>(n * block))));
    for (auto& each : writes) {
      each.rw_flags = rw_flags;
      all.push_back(&each);
    }
    EXPECT_EQ(ctx.submit(all), count);
  }

  [[nodiscard]] static std::size_t found_in(int file) {
    std::string content(count * block, '\0');
    const auto bytes = ::pread(file, content.data(), content.size(), 0);
    return bytes < 0 ? 0 : static_cast<std::size_t>(std::ranges::count(content, 'x')) / block;
  }

  const std::string text = std::string(block, 'x');
  std::vector<aio::iocb> writes;
  std::vector<aio::iocb*> all;
  forlorn waiting{8};
  aio::context ctx{2 * count};
};

class aio_end_with_writes : public testing::TestWithParam<void (*)(int)> {};

// Oracle: all writes that submit has accepted are in the file, although no event was fetched.
TEST_P(aio_end_with_writes, has_carried_out_writes_into_the_page_cache) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    static auto& never_destroyed = *new writes_in_flight{file.get()};
    (void)never_destroyed;
    GetParam()(testing::Test::HasFailure());
  });
  EXPECT_EQ(writes_in_flight::found_in(file.get()), writes_in_flight::count);
}

TEST_P(aio_end_with_writes, has_carried_out_synchronous_writes) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    static auto& never_destroyed = *new writes_in_flight{file.get(), RWF_DSYNC};
    (void)never_destroyed;
    GetParam()(testing::Test::HasFailure());
  });
  EXPECT_EQ(writes_in_flight::found_in(file.get()), writes_in_flight::count);
}

TEST_P(aio_end_with_writes, has_carried_out_writes_of_a_context_that_is_being_destroyed) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    static auto& written = *new writes_in_flight{file.get(), RWF_DSYNC};
    std::thread{[] { written.ctx.destroy(); }}.detach();
    while (written.ctx.handle() != 0) std::this_thread::yield();
    GetParam()(testing::Test::HasFailure());
  });
  EXPECT_EQ(writes_in_flight::found_in(file.get()), writes_in_flight::count);
}

// A request outlives the thread that submitted it.
TEST_P(aio_end_with_writes, has_carried_out_writes_of_a_thread_that_has_ended) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    std::thread{[&] {
      static auto& never_destroyed = *new writes_in_flight{file.get(), RWF_DSYNC};
      (void)never_destroyed;
    }}.join();
    GetParam()(testing::Test::HasFailure());
  });
  EXPECT_EQ(writes_in_flight::found_in(file.get()), writes_in_flight::count);
}

INSTANTIATE_TEST_SUITE_P(, aio_end_with_writes, testing::ValuesIn(doorbell::test::ways_to_end),
                         doorbell::test::name_of_end);

TEST(aio_end, finish_file_io_leaves_events_and_waiting_requests_in_place) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    writes_in_flight written{file.get()};
    aio::finish_file_io();
    EXPECT_EQ(writes_in_flight::found_in(file.get()), writes_in_flight::count);
    std::array<aio::io_event, writes_in_flight::count> events{};
    EXPECT_EQ(written.ctx.get_events(0, events).size(), events.size());
    std::array<aio::io_event, 1> none{};
    EXPECT_TRUE(written.waiting.ctx.get_events(0, none).empty());
  });
}

// Oracle: finish_file_io() returns although other threads submit continuously, and those threads continue afterwards.
TEST(aio_end, finish_file_io_returns_while_other_threads_submit) {
  in_child([] {
    static std::atomic<int> rounds{0};
    static const auto file = doorbell::test::temporary_file();
    for (int n = 0; n < 2; ++n)
      std::thread{[] {
        aio::context own{8};
        std::array<aio::io_event, 1> event{};
        const std::array text{'x'};
        for (;; ++rounds) {
          auto write = doorbell::test::by_engine(aio::prep_pwrite(file.get(), text.data(), text.size(), 0));
          if (own.submit({&write}) != 1 || own.get_events(1, event).size() != 1) ::_exit(EXIT_FAILURE);
        }
      }}.detach();
    for (int n = 0; n < 20; ++n) {
      aio::finish_file_io();
      for (const int before = rounds; rounds < before + 2;) std::this_thread::yield();
    }
  });
}

TEST(aio_end, finish_file_io_in_a_callback_returns) {
  in_child([] {
    aio::context own{8};
    doorbell::eventfd efd;
    bool is_finished = false;
    const doorbell::notifier watch{efd, [&](doorbell::eventfd_ctx&) {
                                     aio::finish_file_io();
                                     is_finished = true;
                                   }};
    efd.signal();
    EXPECT_TRUE(is_finished);
  });
}

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

TEST(aio_end, a_write_whose_event_was_fetched_is_in_the_file) {
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

TEST(aio_end, a_write_whose_eventfd_was_signalled_is_in_the_file) {
  const auto file = doorbell::test::temporary_file();
  in_child([&] {
    auto& there = never_destroyed();
    const doorbell::eventfd efd;
    auto write = aio::prep_pwrite(file.get(), "written", 7, 0);
    write.set_eventfd(efd);
    ASSERT_EQ(there.ctx.submit({&write}), 1U);
    EXPECT_EQ(efd.read_for(20s), 1U);
  });
  std::array<char, 8> found{};
  EXPECT_EQ(::pread(file.get(), found.data(), found.size(), 0), 7);
  EXPECT_STREQ(found.data(), "written");
}

}  // namespace
