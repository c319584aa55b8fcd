// SPDX-License-Identifier: Apache-2.0
//
// Threads of doorbell's own that are started by a thread with a policy, processors and priorities of its own.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <future>
#include <thread>

#include <doorbell/base/background_thread.hpp>

namespace {

using namespace std::chrono_literals;

/// What a thread runs with.
struct setting {
  int policy = -1;
  int processors = 0;
  int niceness = 0;
  long io_priority = -1;
  std::size_t stack = 0;
};

setting of_this_thread() {
  setting now;
  now.policy = ::sched_getscheduler(0);
  cpu_set_t allowed;
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  now.processors = CPU_COUNT(&allowed);
  now.niceness = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)));
  now.io_priority = ::syscall(SYS_ioprio_get, 1, 0);
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) == 0) {
    ::pthread_attr_getstacksize(&attributes, &now.stack);
    ::pthread_attr_destroy(&attributes);
  }
  return now;
}

/// The setting of a background thread that a thread starts after `prepare`.
setting of_thread_started_after(const std::function<void()>& prepare) {
  std::promise<setting> found;
  auto result = found.get_future();
  std::error_code ec;
  std::thread{[&] {
    prepare();
    ec = doorbell::base::start_background_thread(
        "test", [](void* to) noexcept { static_cast<std::promise<setting>*>(to)->set_value(of_this_thread()); },
        &found);
  }}.join();
  EXPECT_FALSE(ec) << ec.message();
  if (ec || result.wait_for(20s) != std::future_status::ready) return {};
  return result.get();
}

TEST(background_thread, is_no_real_time_thread) {
  bool is_allowed = false;
  const auto now = of_thread_started_after([&] {
    const sched_param lowest{.sched_priority = 1};
    is_allowed = ::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &lowest) == 0;
  });
  if (!is_allowed) GTEST_SKIP() << "SCHED_FIFO is not allowed here";
  EXPECT_EQ(now.policy, SCHED_OTHER);
}

TEST(background_thread, runs_on_the_processors_of_the_process) {
  if (of_this_thread().processors < 2) GTEST_SKIP() << "there is one processor only";
  const auto now = of_thread_started_after([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  });
  EXPECT_EQ(now.processors, of_this_thread().processors);
}

TEST(background_thread, has_the_niceness_of_the_process) {
  bool is_allowed = true;
  const auto now = of_thread_started_after([&] {
    const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
    ::setpriority(PRIO_PROCESS, thread, 19);
    // The way back needs a right.
    is_allowed = ::setpriority(PRIO_PROCESS, thread, ::getpriority(PRIO_PROCESS, static_cast<id_t>(::getpid()))) == 0;
    ::setpriority(PRIO_PROCESS, thread, 19);
  });
  EXPECT_EQ(now.niceness, is_allowed ? of_this_thread().niceness : 19);
}

TEST(background_thread, has_the_io_priority_of_the_process) {
  constexpr int idle_class = 3;
  const auto now = of_thread_started_after([] { ::syscall(SYS_ioprio_set, 1, 0, idle_class << 13); });
  EXPECT_EQ(now.io_priority, of_this_thread().io_priority);
}

TEST(background_thread, has_room_on_its_stack_where_the_programs_threads_have_little) {
  pthread_attr_t before;
  ASSERT_EQ(::pthread_getattr_default_np(&before), 0);
  pthread_attr_t small;
  ASSERT_EQ(::pthread_getattr_default_np(&small), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&small, 128 << 10), 0);
  const auto now = of_thread_started_after([&] { ASSERT_EQ(::pthread_setattr_default_np(&small), 0); });
  ASSERT_EQ(::pthread_setattr_default_np(&before), 0);
  ::pthread_attr_destroy(&before);
  ::pthread_attr_destroy(&small);
  EXPECT_GE(now.stack, std::size_t{1} << 20);
}

// A thread without rights may not change from SCHED_IDLE to another policy.
TEST(background_thread, is_started_where_its_policy_is_refused) {
  constexpr long nobody = 65534;
  const auto now = of_thread_started_after([&] {
    const sched_param none{};
    ASSERT_EQ(::pthread_setschedparam(::pthread_self(), SCHED_IDLE, &none), 0);
    // Of this thread only, unlike setresuid(3).
    ::syscall(SYS_setresuid, nobody, nobody, nobody);
  });
  EXPECT_TRUE(now.policy == SCHED_IDLE || now.policy == SCHED_OTHER) << now.policy;
}

}  // namespace
