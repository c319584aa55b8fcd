// SPDX-License-Identifier: Apache-2.0
//
// The engine that a process uses depends on its environment and on what the system allows. A process chooses once, so
// each case has its own process.
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

void expect_engine(std::string_view name) {
  const aio::context ctx{8};
  EXPECT_EQ(ctx.engine(), name);
}

// Checks that a read completes and signals its eventfd, and that a poll can be cancelled.
void expect_that_it_works() {
  const auto file = doorbell::test::temporary_file("hello, world");
  std::array<char, 16> text{};
  doorbell::eventfd efd;
  aio::context ctx{8};
  auto read = aio::prep_pread(file.get(), text.data(), text.size(), 7);
  read.set_eventfd(efd);
  ctx.submit({&read});
  EXPECT_EQ(efd.read_for(20s), 1U);
  std::array<aio::io_event, 2> events{};
  ASSERT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
  EXPECT_EQ(events[0].res, 5);
  EXPECT_EQ((std::string_view{text.data(), 5}), "world");

  const doorbell::test::pipe_ends pipe;
  auto poll = aio::prep_poll(pipe.read.get(), 1);
  ctx.submit({&poll});
  ctx.cancel(poll);
  ASSERT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
  EXPECT_EQ(events[0].res, 0);
}

class engine_choice : public testing::Test {
 protected:
  engine_choice() { ::unsetenv("DOORBELL_ENGINE"); }
};

TEST_F(engine_choice, is_io_uring_where_the_system_allows_it) {
  doorbell::test::in_child([] { expect_engine("io_uring"); });
}

TEST_F(engine_choice, is_threads_where_io_uring_is_refused) {
  for (const int refusal : {ENOSYS, EPERM, EACCES}) {
    SCOPED_TRACE(refusal);
    doorbell::test::in_child([&] {
      doorbell::test::refuse(SYS_io_uring_setup, refusal);
      expect_engine("threads");
      expect_that_it_works();
    });
  }
}

// The kernel's io_setup(2) needs neither locked memory nor descriptors, so neither shortage may make it fail here.
TEST_F(engine_choice, is_threads_where_a_ring_is_too_expensive) {
  for (const int shortage : {ENOMEM, EMFILE}) {
    SCOPED_TRACE(shortage);
    doorbell::test::in_child([&] {
      doorbell::test::refuse(SYS_io_uring_setup, shortage);
      expect_engine("threads");
      expect_that_it_works();
    });
  }
}

TEST_F(engine_choice, is_io_uring_again_after_a_shortage_has_passed) {
  doorbell::test::in_child([] {
    {
      const doorbell::test::no_more_fds meanwhile;
      const aio::context ctx{8};
      EXPECT_EQ(ctx.engine(), "threads");
    }
    expect_engine("io_uring");
  });
}

TEST_F(engine_choice, is_threads_where_rings_can_be_made_but_not_entered) {
  for (const int refusal : {ENOSYS, EPERM, EACCES}) {
    SCOPED_TRACE(refusal);
    doorbell::test::in_child([&] {
      doorbell::test::refuse(SYS_io_uring_enter, refusal);
      expect_engine("threads");
      expect_that_it_works();
    });
  }
}

TEST_F(engine_choice, is_threads_where_a_second_ring_is_refused) {
  doorbell::test::in_child([] {
    expect_engine("io_uring");
    doorbell::test::refuse(SYS_io_uring_setup, EPERM);
    expect_engine("threads");
    expect_that_it_works();
  });
}

TEST_F(engine_choice, is_the_one_that_the_environment_names) {
  const std::pair<const char*, const char*> cases[] = {
      {"threads", "threads"}, {"uring", "io_uring"}, {"io_uring", "io_uring"}, {"", "io_uring"}};
  for (const auto& each : cases) {
    SCOPED_TRACE(each.first);
    doorbell::test::in_child([&] {
      ::setenv("DOORBELL_ENGINE", each.first, 1);
      expect_engine(each.second);
      expect_that_it_works();
    });
  }
}

TEST_F(engine_choice, is_io_uring_or_an_error_if_the_environment_names_io_uring) {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_ENGINE", "io_uring", 1);
    doorbell::test::refuse(SYS_io_uring_setup, EPERM);
    std::error_code ec;
    const aio::context ctx{8, ec};
    EXPECT_EQ(ec, std::errc::operation_not_permitted);
  });
}

void expect_error_for_an_unknown_name() {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_ENGINE", "thread", 1);
    testing::internal::CaptureStderr();
    for (int time = 0; time < 2; ++time) {
      std::error_code ec;
      const aio::context ctx{8, ec};
      EXPECT_EQ(ec, std::errc::invalid_argument);
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "doorbell: DOORBELL_ENGINE=thread names no engine; there are io_uring (or uring) and threads\n");
  });
}

TEST_F(engine_choice, an_unknown_name_is_an_error_and_reported_once) { expect_error_for_an_unknown_name(); }

TEST_F(engine_choice, an_unknown_name_is_an_error_where_io_uring_is_refused) {
  doorbell::test::in_child([] {
    doorbell::test::refuse(SYS_io_uring_setup, EPERM);
    expect_error_for_an_unknown_name();
  });
}

TEST_F(engine_choice, is_made_once_per_process) {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_ENGINE", "threads", 1);
    expect_engine("threads");
    ::setenv("DOORBELL_ENGINE", "io_uring", 1);
    expect_engine("threads");
  });
}

TEST_F(engine_choice, a_context_may_choose_its_own) {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_ENGINE", "threads", 1);
    const aio::context own{8, aio::engine_kind::io_uring};
    EXPECT_EQ(own.engine(), "io_uring");
    expect_engine("threads");
  });
  doorbell::test::in_child([] {
    const aio::context own{8, aio::engine_kind::threads};
    EXPECT_EQ(own.engine(), "threads");
    expect_engine("io_uring");
  });
}

}  // namespace
