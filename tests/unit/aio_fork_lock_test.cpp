// SPDX-License-Identifier: Apache-2.0
//
// fork(2) while another thread holds a lock of the library. The child would inherit the locked lock without the thread
// that unlocks it. The interleaving is deterministic: the lock is held until the forking thread sleeps.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/eventfd.hpp>

#include <doorbell/base/thread_annotations.hpp>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ostream>
#include <system_error>

#include "../../aio/context/ioctx_table.hpp"
#include "../../aio/engine/threads/io_threads.hpp"
#include "../../aio/reaper/reaper.hpp"
#include "../../aio/resfd/resfd.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/sanitizer.hpp"
#include "support/watchdog.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;

// Obtained before the tested lock is held, because io_threads::process() acquires another lock.
doorbell::base::intrusive_ptr<aio::io_threads> io_threads;

struct held_lock {
  const char* name;
  void (*lock)();
  void (*unlock)();

  friend std::ostream& operator<<(std::ostream& out, const held_lock& each) { return out << each.name; }
};

// One lambda locks and another one unlocks, which the thread safety analysis cannot check.
constexpr std::array locks{
    held_lock{"of_the_reaper", []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::reaper::process().lock_for_fork(); },
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::reaper::process().unlock_after_fork(); }},
    held_lock{"of_the_table_of_contexts",
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::ioctx_table::process().lock_for_fork(); },
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::ioctx_table::process().unlock_after_fork(); }},
    held_lock{"of_the_io_threads", []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::io_threads::before_fork(); },
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::io_threads::after_fork_in_parent(); }},
    held_lock{"of_the_poller", []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { io_threads->waits.lock_for_fork(); },
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { io_threads->waits.unlock_after_fork(); }},
    held_lock{"of_the_pinned_files", []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { io_threads->pins.lock_for_fork(); },
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { io_threads->pins.unlock_after_fork(); }},
    held_lock{"of_the_eventfds",
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::resfd_registry::process().lock_for_fork(); },
              []() DOORBELL_NO_THREAD_SAFETY_ANALYSIS { aio::resfd_registry::process().unlock_after_fork(); }},
};

// Completes requests that need each of the library's threads.
void use_a_context() {
  const auto file = doorbell::test::temporary_file("hello");
  const doorbell::eventfd efd;
  aio::context ctx{8, aio::engine_kind::threads};
  auto sync = aio::prep_fsync(file.get());
  sync.set_eventfd(efd);
  ASSERT_EQ(ctx.submit({&sync}), 1U);
  EXPECT_EQ(efd.read_for(20s), 1U);
  std::array<aio::io_event, 1> events{};
  EXPECT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
  // By handle: the library looks up the eventfd by its descriptor number.
  const auto kernels = doorbell::test::kernel_eventfd();
  aio::iocb_abi again = sync;
  again.flags = aio::iocb_abi::flag_resfd;
  again.resfd = static_cast<std::uint32_t>(kernels.get());
  aio::iocb_abi* list = &again;
  ASSERT_EQ(aio::io_submit(ctx.handle(), 1, &list), 1);
  EXPECT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
}

class fork_waits_for_the_lock : public testing::TestWithParam<held_lock> {
 protected:
  const doorbell::test::watchdog dog_;
};

// Oracle: the forking thread sleeps until the lock is free. After that, parent and child can use contexts.
TEST_P(fork_waits_for_the_lock, and_parent_and_child_can_use_contexts_afterwards) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "under a sanitizer, start_child() waits until all other threads sleep";
  use_a_context();
  std::error_code ec;
  io_threads = aio::io_threads::process(ec);
  std::atomic<bool> has_forked{false};
  GetParam().lock();
  doorbell::test::asleep forker{[&] {
    const auto child = doorbell::test::start_child(use_a_context);
    has_forked = true;
    doorbell::test::expect_success(child);
  }};
  EXPECT_FALSE(has_forked);
  GetParam().unlock();
  forker.join();
  EXPECT_TRUE(has_forked);
  use_a_context();
  io_threads = nullptr;
}

// Oracle: a child created by a direct clone(2), for which no handler runs, does not wait for the lock that a thread of
// its parent holds.
TEST_P(fork_waits_for_the_lock, and_a_child_created_without_fork_handlers_does_not_wait) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer does not support a child created by a direct clone(2)";
  use_a_context();
  std::error_code ec;
  io_threads = aio::io_threads::process(ec);
  GetParam().lock();
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0L));
  if (child == 0) {
    ::alarm(doorbell::test::child_patience_in_seconds);
    use_a_context();
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  GetParam().unlock();
  ASSERT_GT(child, 0);
  doorbell::test::expect_success(child);
  io_threads = nullptr;
}

INSTANTIATE_TEST_SUITE_P(, fork_waits_for_the_lock, testing::ValuesIn(locks), testing::PrintToStringParamName());

}  // namespace
