// SPDX-License-Identifier: Apache-2.0
//
// Background threads of doorbell, started by a thread whose policy, processors and priorities differ from those of the
// process.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <future>
#include <string>
#include <system_error>
#include <thread>

#include <doorbell/base/background_thread.hpp>

#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"

DOORBELL_TEST_FORKS

namespace {

using doorbell::test::eventually;
using doorbell::test::in_child;
using namespace std::chrono_literals;

/// The attributes of a thread.
struct setting {
  int policy = -1;
  int processors = 0;
  int niceness = 0;
  long io_priority = -1;
  std::size_t stack = 0;
  bool is_detached = false;
  bool blocks_all_signals = false;
  std::string name;
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
    int detached = PTHREAD_CREATE_JOINABLE;
    ::pthread_attr_getstacksize(&attributes, &now.stack);
    ::pthread_attr_getdetachstate(&attributes, &detached);
    ::pthread_attr_destroy(&attributes);
    now.is_detached = detached == PTHREAD_CREATE_DETACHED;
  }
  sigset_t blocked;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  now.blocks_all_signals = true;
  for (int number = 1; number <= SIGRTMAX; ++number)
    if (number != SIGKILL && number != SIGSTOP && (number < SIGSYS + 1 || number >= SIGRTMIN))
      now.blocks_all_signals = now.blocks_all_signals && ::sigismember(&blocked, number) == 1;
  std::array<char, 16> name{};
  ::pthread_getname_np(::pthread_self(), name.data(), name.size());
  now.name = name.data();
  return now;
}

/// Starts a background thread from a thread that has called `prepare`.
/// @return the setting of the background thread.
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
    // A thread needs a privilege to lower its niceness again.
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

// The process has a priority of its own, and the creator none, which is 0.
TEST(background_thread, has_the_io_priority_of_the_process_although_its_creator_has_none) {
  in_child([] {
    constexpr int lowest_best_effort = 2 << 13 | 7;
    ASSERT_EQ(::syscall(SYS_ioprio_set, 1, 0, lowest_best_effort), 0);
    const auto now = of_thread_started_after([] { ASSERT_EQ(::syscall(SYS_ioprio_set, 1, 0, 0), 0); });
    EXPECT_EQ(now.io_priority, of_this_thread().io_priority);
  });
}

TEST(background_thread, has_a_large_stack_although_the_programs_default_is_small) {
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

// An unprivileged thread may not change from SCHED_IDLE to another policy.
TEST(background_thread, is_started_although_the_change_of_its_policy_is_refused) {
  constexpr long nobody = 65534;
  const auto now = of_thread_started_after([&] {
    const sched_param none{};
    ASSERT_EQ(::pthread_setschedparam(::pthread_self(), SCHED_IDLE, &none), 0);
    // The system call changes this thread only, unlike setresuid(3).
    ::syscall(SYS_setresuid, nobody, nobody, nobody);
  });
  EXPECT_TRUE(now.policy == SCHED_IDLE || now.policy == SCHED_OTHER) << now.policy;
}

// A joinable thread that is never joined would keep its stack forever. A signal handler of the program must not run in
// a background thread.
TEST(background_thread, is_detached_has_its_name_and_blocks_signals) {
  const auto now = of_thread_started_after([] {});
  EXPECT_TRUE(now.is_detached);
  EXPECT_TRUE(now.blocks_all_signals);
  EXPECT_EQ(now.name, "test");
  sigset_t before;
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  EXPECT_FALSE(doorbell::base::start_background_thread("ends", [](void*) noexcept {}, nullptr));
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int number = 1; number <= SIGRTMAX; ++number)
    EXPECT_EQ(::sigismember(&before, number), ::sigismember(&after, number)) << number;
}

/// Makes a system call end the process from now on.
void forbid(long number) {
  std::array<sock_filter, 4> program{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

// The sandbox kills a process that sets a scheduling policy, processors or a priority. Oracle: a background thread
// starts there if none of these settings has to change.
TEST(background_thread, makes_no_system_calls_for_settings_that_need_no_change) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "there is no seccomp(2)";
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer makes calls of its own";
  in_child([] {
    const sched_param none{};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none), 0);
    for (const long call : {SYS_sched_setscheduler, SYS_sched_setaffinity, SYS_setpriority, SYS_ioprio_set})
      forbid(call);
    std::promise<void> runs;
    EXPECT_FALSE(doorbell::base::start_background_thread(
        "test", [](void* to) noexcept { static_cast<std::promise<void>*>(to)->set_value(); }, &runs));
    EXPECT_EQ(runs.get_future().wait_for(20s), std::future_status::ready);
  });
}

TEST(background_thread, failure_to_start_is_resource_unavailable_try_again) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "there is no seccomp(2)";
  for (const int error : {EPERM, EAGAIN, ENOMEM})
    in_child([error] {
      doorbell::test::refuse(SYS_clone3, ENOSYS);
      doorbell::test::refuse(SYS_clone, error);
      sigset_t before;
      sigset_t after;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
      EXPECT_EQ(doorbell::base::start_background_thread(
                    "test", [](void*) noexcept { ::abort(); }, nullptr),
                std::errc::resource_unavailable_try_again);
      ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
      EXPECT_EQ(::sigismember(&before, SIGUSR1), ::sigismember(&after, SIGUSR1));
    });
}

// The default stack of the program's threads is small, and the address space has no room for a larger one.
TEST(background_thread, is_started_where_there_is_no_room_for_its_stack) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs more addresses than the limit leaves";
  in_child([] {
    pthread_attr_t small;
    ASSERT_EQ(::pthread_getattr_default_np(&small), 0);
    ASSERT_EQ(::pthread_attr_setstacksize(&small, 128 << 10), 0);
    ASSERT_EQ(::pthread_setattr_default_np(&small), 0);
    std::promise<void> runs;
    auto done = runs.get_future();
    long pages = 0;
    std::ifstream{"/proc/self/statm"} >> pages;
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE)) + (768 << 10);
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &limit), 0);
    EXPECT_FALSE(doorbell::base::start_background_thread(
        "test", [](void* to) noexcept { static_cast<std::promise<void>*>(to)->set_value(); }, &runs));
    EXPECT_EQ(done.wait_for(20s), std::future_status::ready);
  });
}

/// Whether the first thread of the process has ended. It stays a zombie until all threads have ended.
bool has_first_thread_ended() {
  std::string line;
  std::ifstream status{"/proc/self/task/" + std::to_string(::getpid()) + "/status"};
  while (std::getline(status, line))
    if (line.starts_with("State:")) return line.find('Z') != std::string::npos;
  return false;
}

/// Flags by which the threads of a child wait for each other.
struct ending {
  std::atomic<bool> is_observed{false};
  std::atomic<bool> may_others_end{false};
};

/// Runs in a background thread. Ends the process with 0 if only_background_threads_are_left() returns the right answer
/// at each stage.
void observe(void* told) noexcept {
  using doorbell::base::only_background_threads_are_left;
  auto& stage = *static_cast<ending*>(told);
  bool is_right = !only_background_threads_are_left();
  stage.is_observed = true;
  is_right = eventually(has_first_thread_ended) && !only_background_threads_are_left() && is_right;
  stage.may_others_end = true;
  is_right = eventually(only_background_threads_are_left) && is_right;
  ::_exit(is_right ? 0 : 1);
}

// Oracle: the answer is no while the first thread or another thread of the program lives, and then yes, although one
// background thread has ended before, and a background thread of the parent does not exist in the child.
TEST(background_thread, reports_when_only_background_threads_are_left) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer has a thread of its own";
  static std::atomic<bool> may_end{false};
  EXPECT_FALSE(
      doorbell::base::start_background_thread("parents", [](void*) noexcept { may_end.wait(false); }, nullptr));
  in_child([] {
    static ending stage;
    std::promise<void> runs;
    EXPECT_FALSE(doorbell::base::start_background_thread(
        "short", [](void* to) noexcept { static_cast<std::promise<void>*>(to)->set_value(); }, &runs));
    runs.get_future().wait();
    std::thread{[] {
      while (!stage.may_others_end) std::this_thread::yield();
    }}.detach();
    EXPECT_FALSE(doorbell::base::start_background_thread(
        "rests",
        [](void*) noexcept {
          for (;;) ::pause();
        },
        nullptr));
    EXPECT_FALSE(doorbell::base::start_background_thread("observes", observe, &stage));
    while (!stage.is_observed) std::this_thread::yield();
    ::syscall(SYS_exit, 0);  // ends this thread only
  });
  may_end = true;
  may_end.notify_all();
}

}  // namespace
