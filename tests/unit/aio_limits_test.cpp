// SPDX-License-Identifier: Apache-2.0
//
// A process at its limit of descriptors, threads or memory: each call that needs more fails with an error, whichever
// step reaches the limit, leaves nothing behind, and succeeds once the limit permits.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <span>
#include <vector>

#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/sanitizer.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::in_child;
using doorbell::test::no_more_fds;

constexpr rlim_t most_steps = 32;

/// A context, used by handle, and a read of an empty pipe.
struct piped_context {
  piped_context() { EXPECT_EQ(aio::io_setup(8, &handle), 0); }
  ~piped_context() { EXPECT_EQ(aio::io_destroy(handle), 0); }
  piped_context(const piped_context&) = delete;
  piped_context& operator=(const piped_context&) = delete;

  int submit() {
    aio::iocb_abi* asked = &read;
    return aio::io_submit(handle, 1, &asked);
  }

  void let_one_complete() const { ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1); }

  int events_there() const {
    std::array<aio::io_event, 256> events{};
    return aio::io_getevents(handle, 0, events.size(), events.data(), nullptr);
  }

  int slots_left() {
    int taken = 0;
    while (submit() == 1) ++taken;
    return taken;
  }

  doorbell::test::pipe_ends pipe;
  std::array<char, 8> text{};
  aio::iocb read = aio::prep_pread(pipe.read.get(), text.data(), 1, 0);
  aio::aio_context_t handle = 0;
};

TEST(aio_limits, setup_without_descriptors_fails_until_there_are_enough) {
  if (doorbell::test::sanitized && !doorbell::test::thread_sanitized)
    GTEST_SKIP() << "UBSan checks objects through a pipe, and reports errors if it cannot create one";
  const doorbell::test::nothing_left_behind check;
  auto ec = std::make_error_code(std::errc::too_many_files_open);
  for (rlim_t spare = 0; ec; ++spare) {
    ASSERT_LT(spare, most_steps);
    const no_more_fds limit{spare};
    const aio::context ctx{8, ec};
    ASSERT_TRUE(!ec || ec == std::errc::too_many_files_open) << ec;
  }
  EXPECT_EQ(aio::aio_nr(), 0U);
}

// Runs in a child, where no reaper has been started yet. The reaper needs a descriptor, and so does the library's
// duplicate of the eventfd. A submit that gets no descriptor fails with EMFILE or EAGAIN.
TEST(aio_limits, without_descriptors_submit_with_an_eventfd_is_refused) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  in_child([] {
    piped_context ctx;
    const auto efd = doorbell::test::kernel_eventfd();
    ctx.read.flags = aio::iocb_abi::flag_resfd;
    ctx.read.resfd = static_cast<std::uint32_t>(efd.get());
    int refused = 0;
    for (int answer = 0; answer != 1; ++refused) {
      ASSERT_LT(refused, static_cast<int>(most_steps));
      const no_more_fds limit{static_cast<rlim_t>(refused)};
      answer = ctx.submit();
      ASSERT_TRUE(answer == 1 || answer == -EMFILE || answer == -EAGAIN) << answer;
    }
    EXPECT_GT(refused, 2);
    ctx.let_one_complete();
    pollfd readable{.fd = efd.get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&readable, 1, 20'000), 1);
    EXPECT_EQ(doorbell::test::take(efd.get()), 1U);
    EXPECT_EQ(ctx.events_there(), 1);
    EXPECT_EQ(ctx.slots_left(), 126);
  });
}

TEST(aio_limits, without_descriptors_a_wait_with_a_signal_mask_fails_with_emfile) {
  piped_context ctx;
  ASSERT_EQ(ctx.submit(), 1);
  sigset_t none;
  sigemptyset(&none);
  const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
  aio::io_event event{};
  {
    const no_more_fds limit;
    EXPECT_EQ(aio::io_pgetevents(ctx.handle, 1, 1, &event, nullptr, &mask), -EMFILE);
  }
  ctx.let_one_complete();
  EXPECT_EQ(aio::io_pgetevents(ctx.handle, 1, 1, &event, nullptr, &mask), 1);
}

TEST(aio_limits, without_descriptors_a_contexts_descriptor_is_refused_with_emfile) {
  aio::context ctx{8, aio::engine_kind::threads};
  std::error_code ec;
  int descriptor = 0;
  {
    const no_more_fds limit;
    descriptor = ctx.descriptor(ec);
  }
  EXPECT_EQ(descriptor, -1);
  EXPECT_EQ(ec, std::errc::too_many_files_open);
  EXPECT_GE(ctx.descriptor(ec), 0);
  EXPECT_FALSE(ec);
}

// Oracle: all accepted requests complete without an error, although the workers cannot get another descriptor for a
// while.
TEST(aio_limits, accepted_requests_are_carried_out_after_the_limit_of_descriptors_is_lowered) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  in_child([] {
    constexpr std::size_t count = 32;
    constexpr int rounds = 20;
    const auto file = doorbell::test::temporary_file("text");
    aio::context ctx{count, aio::engine_kind::threads};
    // A sync request does not share a pin: submit sends the file to the I/O threads for each of them.
    std::vector<aio::iocb> syncs(count, aio::prep_fdsync(file.get()));
    std::vector<aio::iocb*> asked;
    for (auto& each : syncs) asked.push_back(&each);
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    std::array<aio::io_event, count> events{};
    for (int round = 0; round < rounds; ++round) {
      ASSERT_EQ(ctx.submit(asked), count);
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
      const auto some = ctx.get_events(count, events, 10ms).size();
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
      ASSERT_EQ(ctx.get_events(count - some, std::span{events}.subspan(some), 20s).size(), count - some);
      for (const auto& each : events) ASSERT_EQ(each.res, 0) << "round " << round;
    }
  });
}

// Oracle: submit refuses a request for which the I/O threads have no descriptor. Each accepted request completes with
// its result, and then as many can be submitted again.
TEST(aio_limits, requests_beyond_the_limit_of_descriptors_are_refused) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  in_child([] {
    constexpr std::size_t count = 200;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    const doorbell::test::pipe_ends pipe;
    aio::context ctx{count, aio::engine_kind::threads};
    std::vector<aio::iocb> polls(count, aio::prep_poll(pipe.read.get(), POLLIN));
    std::array<aio::io_event, count> events{};
    for (int round = 0; round < 3; ++round) {
      std::size_t accepted = 0;
      std::error_code ec;
      while (accepted < count && ctx.submit({&polls[accepted]}, ec) == 1) ++accepted;
      EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
      EXPECT_GT(accepted, 32U);
      EXPECT_LT(accepted, 64U);
      ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
      ASSERT_EQ(ctx.get_events(accepted, events, 20s).size(), accepted);
      for (const auto& each : std::span{events}.first(accepted)) ASSERT_EQ(each.res, POLLIN);
      char byte = 0;
      ASSERT_EQ(::read(pipe.read.get(), &byte, 1), 1);
    }
  });
}

/// From now on this process can start no thread. The limit does not apply to root, so root becomes another user.
bool start_no_more_threads(rlimit& before) {
  ::getrlimit(RLIMIT_NPROC, &before);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  constexpr uid_t nobody = 65534;
  return ::setrlimit(RLIMIT_NPROC, &none) == 0 && (::geteuid() != 0 || ::setuid(nobody) == 0);
}

// Oracle: the submitting thread carries out a request for a file, and submit refuses a request that would wait. Neither
// request is queued for a set of I/O threads without workers.
TEST(aio_limits, io_threads_that_can_start_only_one_thread_are_not_used) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer has a thread of its own";
  if (::geteuid() != 0) GTEST_SKIP() << "needs a user who has no other processes";
  in_child([] {
    const rlimit two{.rlim_cur = 2, .rlim_max = 2};
    ASSERT_EQ(::setrlimit(RLIMIT_NPROC, &two), 0);
    ASSERT_EQ(::setuid(1'000'000 + static_cast<uid_t>(::getpid())), 0);
    aio::context ctx{8, aio::engine_kind::threads};
    const doorbell::test::pipe_ends pipe;
    char byte = 0;
    auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
    std::error_code ec;
    EXPECT_EQ(ctx.submit({&read}, ec), 0U);
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    const auto file = doorbell::test::temporary_file("text");
    auto sync = aio::prep_fsync(file.get());
    ASSERT_EQ(ctx.submit({&sync}), 1U);
    std::array<aio::io_event, 1> events{};
    ASSERT_EQ(ctx.get_events(1, events, 20s).size(), 1U);
    EXPECT_EQ(events[0].res, 0);
  });
}

TEST(aio_limits, without_threads_submit_with_an_eventfd_is_refused) {
  in_child([] {
    aio::context ctx{8};
    const doorbell::test::pipe_ends pipe;
    const doorbell::eventfd efd;
    std::array<char, 8> text{};
    auto read = aio::prep_pread(pipe.read.get(), text.data(), 1, 0);
    read.set_eventfd(efd);
    rlimit before{};
    if (!start_no_more_threads(before)) {
      std::fputs("skipped: this process can start threads whatever the limit says\n", stderr);
      return;
    }
    std::error_code ec;
    EXPECT_EQ(ctx.submit({&read}, ec), 0U);
    EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    ::setrlimit(RLIMIT_NPROC, &before);
    ASSERT_EQ(ctx.submit({&read}), 1U);
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    EXPECT_EQ(efd.read_for(20s), 1U);
  });
}

/// Holds as many mappings as a process can have, except those released by give_one_back().
class all_mappings {
 public:
  all_mappings() {
    taken_.reserve(std::size_t{1} << 21);
    while (take()) {
    }
  }
  /// Lets the process have one more.
  void give_one_back() {
    ::munmap(taken_.back(), 1);
    taken_.pop_back();
  }

 private:
  // Adjacent mappings have different protections; otherwise the kernel would merge them.
  bool take() {
    const int rights = taken_.size() % 2 == 0 ? PROT_NONE : PROT_READ;
    void* const one = ::mmap(nullptr, 1, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (one == MAP_FAILED || taken_.size() == taken_.capacity()) return false;
    taken_.push_back(one);
    return true;
  }

  std::vector<void*> taken_;
};

TEST(aio_limits, setup_without_mappings_fails_until_there_are_enough) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs mappings of its own";
  in_child([] {
    {
      const aio::context first{8};
    }  // creates the objects that exist once per process
    const doorbell::test::nothing_left_behind check;
    all_mappings taken;
    auto ec = std::make_error_code(std::errc::not_enough_memory);
    for (rlim_t steps = 0; ec; ++steps) {
      ASSERT_LT(steps, most_steps);
      const aio::context ctx{8, ec};
      ASSERT_TRUE(!ec || ec == std::errc::not_enough_memory) << ec;
      taken.give_one_back();
    }
    EXPECT_EQ(aio::aio_nr(), 0U);
  });
}

rlim_t bytes_mapped() {
  std::ifstream file{"/proc/self/statm"};
  rlim_t pages = 0;
  file >> pages;
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

// As in the kernel, the shortage of memory is reported even if the limit of requests is reached, too.
TEST(aio_limits, setup_without_memory_fails) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer has mapped more than any limit";
  in_child([] {
    aio::context most{static_cast<unsigned>(std::min<std::size_t>(aio::aio_max_nr(), 65'536))};
    rlimit before{};
    ::getrlimit(RLIMIT_AS, &before);
    const rlimit little{.rlim_cur = bytes_mapped() + (1U << 20), .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
    std::error_code ec;
    const aio::context large{50'000, ec};
    EXPECT_EQ(ec, std::errc::not_enough_memory);
    most.destroy();
    EXPECT_EQ(aio::aio_nr(), 0U);
    ::setrlimit(RLIMIT_AS, &before);
    const aio::context small{8};
  });
}

// Oracle: each request has exactly one event, although the completion queue of io_uring is smaller than the number of
// requests.
TEST(aio_limits, more_completions_than_the_queue_holds_are_all_returned) {
  constexpr unsigned room = 40'000;
  constexpr std::size_t many = 70'000;
  std::error_code ec;
  aio::context ctx{room, ec};
  if (ec == std::errc::resource_unavailable_try_again) GTEST_SKIP() << "the limit of requests is lower than 40000";
  const auto file = doorbell::test::temporary_file("x");
  auto poll = aio::prep_poll(file.get(), POLLIN);
  std::vector<char> seen(many);
  for (auto& mark : seen) {
    poll.data = &mark;
    ASSERT_EQ(ctx.submit({&poll}), 1U);
  }
  std::vector<aio::io_event> events(1000);
  for (std::size_t got = 0; got < many;) {
    const auto some = ctx.get_events(1, events, 20s);
    ASSERT_FALSE(some.empty());
    for (const auto& event : some) ASSERT_EQ(++*static_cast<char*>(event.data), 1);
    got += some.size();
  }
  EXPECT_TRUE(ctx.get_events(0, events).empty());
}

}  // namespace
