// SPDX-License-Identifier: Apache-2.0
//
// The reaper alone, with contexts that only count its calls: which contexts it looks at, how often, and how it
// continues when the program has closed its epoll. A process has one reaper, so each case has its own process.
#include "../../aio/reaper/reaper.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using doorbell::aio::reaper;
using doorbell::test::eventually;
using doorbell::test::in_child;
using doorbell::test::unique_fd;

/// A context whose completions are the counts of an eventfd.
class counting_context final : public doorbell::aio::reaped_context {
 public:
  explicit counting_context(bool has_descriptor = true) : has_descriptor_{has_descriptor} {}

  [[nodiscard]] bool try_enter() noexcept override { return true; }
  void leave() noexcept override {}
  [[nodiscard]] std::array<int, 2> descriptors() const noexcept override {
    return {has_descriptor_ ? completions.get() : -1, -1};
  }
  [[nodiscard]] bool must_be_looked_at() const noexcept override { return is_looked_at; }
  [[nodiscard]] bool has_requests() const noexcept override { return requests; }
  [[nodiscard]] bool has_requests_of_ring_reader() const noexcept override { return false; }
  void reap_for_others() noexcept override {
    ++looks;
    reaped += doorbell::test::take(completions.get());
  }
  void on_round() noexcept override { ++rounds; }

  void watch() {
    std::error_code ec;
    reaper::process().watch(*this, ec);
    EXPECT_FALSE(ec) << ec.message();
  }
  /// Completes a request, and waits until the reaper has reaped it.
  [[nodiscard]] bool complete() {
    const auto before = reaped.load();
    EXPECT_TRUE(doorbell::test::give(completions.get(), 1));
    return eventually([&] { return reaped == before + 1; });
  }
  /// @return the time in which the reaper has looked at the context `count` times.
  [[nodiscard]] clock::duration time_of_looks(unsigned count) {
    const auto began = clock::now();
    const auto before = looks.load();
    EXPECT_TRUE(eventually([&] { return looks - before >= count; }));
    return clock::now() - began;
  }

  unique_fd completions = doorbell::test::kernel_eventfd();
  std::atomic<bool> is_looked_at{false};
  std::atomic<bool> requests{false};
  std::atomic<unsigned> looks{0};
  std::atomic<unsigned> rounds{0};
  std::atomic<std::uint64_t> reaped{0};

 private:
  const bool has_descriptor_;
};

/// The numbers of the epolls that this process has open.
std::vector<int> epolls() {
  std::vector<int> found;
  for (const auto& each : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;
    if (std::filesystem::read_symlink(each.path(), gone) == "anon_inode:[eventpoll]")
      found.push_back(std::stoi(each.path().filename().string()));
  }
  return found;
}

/// Closes the reaper's epoll, as a program may that closes all descriptors. By number, because ThreadSanitizer would
/// report that the library uses a closed descriptor.
void close_epoll_of_reaper() {
  const auto all = epolls();
  ASSERT_EQ(all.size(), 1U);
  ASSERT_EQ(::syscall(SYS_close, all[0]), 0);
}

// The reaper looks every 5 ms, so `many` looks take much less than `soon`; with one look per second they would take
// longer.
constexpr unsigned many = 20;
constexpr auto soon = 10s;

TEST(lone_reaper, reaps_what_a_descriptor_announces_and_looks_at_no_other_context) {
  in_child([] {
    EXPECT_FALSE(reaper::process().needs_epoll());
    counting_context one;
    counting_context other;
    one.watch();
    EXPECT_EQ(epolls().size(), 1U);
    other.watch();
    for (unsigned n = 0; n < many; ++n) EXPECT_TRUE(one.complete());
    EXPECT_EQ(other.looks, 0U);
    EXPECT_TRUE(other.complete());
    EXPECT_FALSE(reaper::process().needs_epoll());
    reaper::process().forget(one);
    reaper::process().forget(other);
  });
}

// The kernel may give number 0 to a descriptor of the library if no other number is free.
TEST(lone_reaper, watches_descriptor_0) {
  in_child([] {
    counting_context one;
    ASSERT_EQ(::dup2(one.completions.get(), 0), 0);
    one.completions.reset(0);
    one.watch();
    EXPECT_TRUE(one.complete());
    reaper::process().forget(one);
  });
}

TEST(lone_reaper, looks_often_at_a_context_that_must_be_looked_at_and_has_no_descriptor) {
  in_child([] {
    counting_context one{false};
    std::error_code ec;
    reaper::process().watch(one, ec);
    EXPECT_EQ(ec, std::errc::too_many_files_open);
    one.is_looked_at = true;
    one.watch();
    EXPECT_LT(one.time_of_looks(many), soon);
    EXPECT_TRUE(one.complete());
    reaper::process().forget(one);
  });
}

// Oracle: without its epoll, the reaper looks often at contexts that have requests. A new epoll announces the
// completions of all contexts that are watched, and then the reaper looks at no other context.
TEST(lone_reaper, looks_often_at_contexts_with_requests_until_there_is_a_new_epoll) {
  in_child([] {
    counting_context one;
    counting_context other;
    one.requests = true;
    one.watch();
    other.watch();
    EXPECT_TRUE(one.complete());
    close_epoll_of_reaper();
    EXPECT_TRUE(eventually([] { return reaper::process().needs_epoll(); }));
    EXPECT_LT(one.time_of_looks(many), soon);
    EXPECT_EQ(epolls().size(), 0U);
    reaper::process().restore_epoll();
    EXPECT_FALSE(reaper::process().needs_epoll());
    EXPECT_EQ(epolls().size(), 1U);
    EXPECT_TRUE(one.complete());
    for (int n = 0; n < 5; ++n) EXPECT_TRUE(other.complete());
    const auto before = one.looks.load();
    for (unsigned n = 0; n < many; ++n) EXPECT_TRUE(other.complete());
    EXPECT_LT(one.looks - before, many / 2);
    EXPECT_TRUE(one.complete());
    reaper::process().forget(one);
    reaper::process().forget(other);
  });
}

// Oracle: the program's epoll still reports the descriptors. The reaper's thread may sleep in its closed epoll for up
// to a second, and would reap what that announces: so the test first waits until the thread has noticed the loss.
TEST(lone_reaper, does_not_change_the_programs_epoll_that_has_the_number_of_its_own) {
  in_child([] {
    counting_context one;
    counting_context other;
    one.watch();
    other.watch();
    const auto all = epolls();
    ASSERT_EQ(all.size(), 1U);
    const unique_fd programs{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event event{};
    event.events = EPOLLIN;
    for (const int each : {one.completions.get(), other.completions.get()})
      ASSERT_EQ(::epoll_ctl(programs.get(), EPOLL_CTL_ADD, each, &event), 0);
    ASSERT_EQ(::syscall(SYS_dup3, programs.get(), all[0], O_CLOEXEC), all[0]);
    EXPECT_TRUE(eventually([] { return reaper::process().needs_epoll(); }));
    std::error_code ec;
    reaper::process().forget(one);
    reaper::process().visit_in_rounds(other, ec);
    EXPECT_FALSE(ec);
    for (auto* each : {&one, &other}) {
      EXPECT_TRUE(doorbell::test::give(each->completions.get(), 1));
      EXPECT_EQ(::epoll_wait(programs.get(), &event, 1, 0), 1);
      EXPECT_EQ(doorbell::test::take(each->completions.get()), 1U);
    }
    reaper::process().forget(other);
  });
}

// Oracle: there is a round about once a second, although another context has completions all the time.
TEST(lone_reaper, makes_rounds_while_it_is_busy) {
  in_child([] {
    counting_context visited;
    counting_context busy;
    std::error_code ec;
    const auto began = clock::now();
    reaper::process().visit_in_rounds(visited, ec);
    EXPECT_FALSE(ec);
    busy.watch();
    EXPECT_TRUE(eventually([&] { return busy.complete() && visited.rounds >= 3; }));
    EXPECT_GE(clock::now() - began, 1500ms);  // two intervals; delays only make it longer
    EXPECT_EQ(visited.looks, 0U);
    reaper::process().forget(visited);
    reaper::process().forget(busy);
  });
}

// Oracle: the second call returns another error, because it has not tried to start the thread.
TEST(lone_reaper, does_not_try_again_soon_to_start_its_thread_for_rounds) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  in_child([] {
    doorbell::test::refuse(SYS_epoll_create1, ENFILE);
    counting_context one;
    std::error_code ec;
    reaper::process().visit_in_rounds(one, ec);
    EXPECT_EQ(ec, std::errc::too_many_files_open_in_system);
    ec.clear();
    reaper::process().visit_in_rounds(one, ec);
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    ec.clear();
    reaper::process().watch(one, ec);
    EXPECT_EQ(ec, std::errc::too_many_files_open_in_system);
  });
}

// Oracle: the process ends with status 0 after its last thread has ended, also if there is no epoll.
TEST(lone_reaper, ends_a_process_without_threads_although_its_epoll_is_closed) {
  if (doorbell::test::sanitized)
    GTEST_SKIP() << "ThreadSanitizer has a thread of its own; the leak checker misses the stack of the ended thread";
  in_child([] {
    static counting_context one;
    one.watch();
    close_epoll_of_reaper();
    EXPECT_TRUE(eventually([] { return reaper::process().needs_epoll(); }));
    if (!testing::Test::HasFailure()) ::syscall(SYS_exit, 0);  // ends this thread only
  });
}

}  // namespace
