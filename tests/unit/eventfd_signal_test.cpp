// SPDX-License-Identifier: Apache-2.0
//
// Counts that the library adds to an eventfd by the kernel's AIO (aio/system/eventfd_signal.hpp).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <doorbell/base/private_fd.hpp>

#include "../../aio/context/call.hpp"
#include "../../aio/context/fork.hpp"
#include "../../aio/system/eventfd_signal.hpp"
#include "support/child.hpp"
#include "support/cloned_child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"
#include "support/threads.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace signal_by_kernel = doorbell::aio::eventfd_signal;
using doorbell::base::private_fd;
using doorbell::test::in_child;
using doorbell::test::kernel_eventfd;
using doorbell::test::take;
using doorbell::test::unique_fd;

constexpr std::uint64_t most = UINT64_MAX - 1;

class eventfd_signal : public testing::Test {
 protected:
  void SetUp() override {
    doorbell::aio::expect_forks();
    if (signal_by_kernel::add(ours, 1) != 0) GTEST_SKIP() << "this system has no kernel AIO";
    ASSERT_EQ(take(efd.get()), 1U);
  }
  // By syscall(2), which ThreadSanitizer does not intercept: it would report that a descriptor of the library is
  // replaced.
  void put_at_our_number(int fd) const { ASSERT_EQ(::syscall(SYS_dup3, fd, ours.get(), O_CLOEXEC), ours.get()); }

  const unique_fd efd = kernel_eventfd();
  private_fd ours = private_fd::duplicate_of(efd.get());
};

TEST_F(eventfd_signal, adds_exactly_the_given_count) {
  std::uint64_t sum = 0;
  for (const std::uint64_t n : {1U, 2U, 63U, 64U, 65U, 1000U}) {
    EXPECT_EQ(signal_by_kernel::add(ours, n), 0U);
    EXPECT_EQ(take(efd.get()), n);
    sum += n;
  }
  for (std::uint64_t each = 0; each < 2 * sum; ++each) ASSERT_EQ(signal_by_kernel::add(ours, 1), 0U);
  EXPECT_EQ(take(efd.get()), 2 * sum);
}

TEST_F(eventfd_signal, adds_to_eventfds_that_block_and_to_semaphores) {
  for (const int flags : {0, static_cast<int>(EFD_SEMAPHORE), static_cast<int>(EFD_NONBLOCK)}) {
    const auto other = kernel_eventfd(5, flags);
    const auto duplicate = private_fd::duplicate_of(other.get());
    EXPECT_EQ(signal_by_kernel::add(duplicate, 2), 0U);
    std::uint64_t sum = 0;
    while (const auto some = take(other.get())) sum += some;
    EXPECT_EQ(sum, 7U);
  }
}

TEST_F(eventfd_signal, stops_at_the_highest_count_and_does_not_sleep) {
  ASSERT_TRUE(doorbell::test::give(efd.get(), most));
  EXPECT_EQ(signal_by_kernel::add(ours, 3), 0U);
  EXPECT_EQ(take(efd.get()), most + 1);
}

// Oracle: neither the position nor the size of the file has changed, as a write would change them.
TEST_F(eventfd_signal, writes_nothing_to_a_file_that_replaced_the_descriptor) {
  const auto file = doorbell::test::temporary_file();
  put_at_our_number(file.get());
  {
    // As if the number had become that of the file after the library had verified it.
    const private_fd::verified_scope verified{&ours};
    for (const std::uint64_t n : {1U, 64U, 1000U}) EXPECT_EQ(signal_by_kernel::add(ours, n), 0U);
  }
  EXPECT_EQ(signal_by_kernel::add(ours, 1), 0U);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), 0);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 0);
  EXPECT_EQ(take(efd.get()), 0U);
}

TEST_F(eventfd_signal, still_adds_to_other_eventfds_after_one_descriptor_is_lost) {
  {
    const auto other = kernel_eventfd();
    auto lost = private_fd::duplicate_of(other.get());
    ASSERT_EQ(::syscall(SYS_close, lost.get()), 0);
    const private_fd::verified_scope verified{&lost};
    EXPECT_EQ(signal_by_kernel::add(lost, 1), 0U);
  }
  EXPECT_EQ(signal_by_kernel::add(ours, 1), 0U);
  EXPECT_EQ(take(efd.get()), 1U);
}

TEST_F(eventfd_signal, adds_nothing_to_another_eventfd_that_replaced_the_descriptor) {
  const auto other = kernel_eventfd();
  put_at_our_number(other.get());
  EXPECT_EQ(signal_by_kernel::add(ours, 1), 0U);
  EXPECT_EQ(take(other.get()), 0U);
  EXPECT_EQ(take(efd.get()), 0U);
}

// Oracle: no count is lost, although the threads discard each other's events.
TEST_F(eventfd_signal, threads_signal_concurrently_and_lose_no_count) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t rounds = 2000;
  doorbell::test::run_together(threads, [&](std::size_t) {
    for (std::size_t round = 0; round < rounds; ++round) ASSERT_EQ(signal_by_kernel::add(ours, 1 + round % 3), 0U);
  });
  EXPECT_EQ(take(efd.get()), threads * (rounds / 3 * 6 + 1 + 2));
}

TEST_F(eventfd_signal, a_child_signals_by_a_context_of_its_own) {
  const auto add_in_child = [&] {
    const doorbell::aio::call first;  // notices a child for which no fork handlers have run
    EXPECT_EQ(signal_by_kernel::add(ours, 2), 0U);
    EXPECT_EQ(take(efd.get()), 2U);
  };
  in_child(add_in_child);
  // The fork handlers of a sanitizer do not run for a direct clone(2).
  if (!doorbell::test::sanitized) doorbell::test::in_cloned_child(add_in_child);
  EXPECT_EQ(signal_by_kernel::add(ours, 1), 0U);
  EXPECT_EQ(take(efd.get()), 1U);
}

TEST_F(eventfd_signal, keeps_errno_and_opens_no_descriptor) {
  const auto before = doorbell::test::inventory::now();
  errno = ENOTTY;
  EXPECT_EQ(signal_by_kernel::add(ours, 100), 0U);
  EXPECT_EQ(errno, ENOTTY);
  EXPECT_EQ(doorbell::test::inventory::now().descriptors, before.descriptors);
}

TEST_F(eventfd_signal, leaves_the_count_to_the_caller_where_kernel_aio_is_refused) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "needs seccomp(2)";
  in_child([&] {
    doorbell::test::refuse_kernel_aio();
    EXPECT_EQ(signal_by_kernel::add(ours, 3), 3U);
    EXPECT_EQ(take(efd.get()), 0U);
  });
}

}  // namespace
