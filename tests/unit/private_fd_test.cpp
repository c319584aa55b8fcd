// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/private_fd.hpp>

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

using doorbell::base::private_fd;
using doorbell::test::in_child;
using doorbell::test::is_open;
using doorbell::test::kernel_eventfd;
using doorbell::test::temporary_file;
using doorbell::test::unique_fd;

TEST(private_fd, has_a_number_that_programs_rarely_use) {
  const private_fd own{kernel_eventfd()};
  EXPECT_GE(own.get(), private_fd::lowest_number());
  EXPECT_TRUE(own.is_ours());
}

// Oracle: a duplicate whose number is another eventfd's is taken for ours in the scope of this thread only.
TEST(private_fd, that_has_just_been_verified_is_not_verified_again_in_that_scope) {
  const auto programs = kernel_eventfd();
  const auto other = kernel_eventfd();
  const auto own = private_fd::duplicate_of(programs.get());
  const auto another = private_fd::duplicate_of(other.get());
  ASSERT_TRUE(own.is_ours());
  {
    const private_fd::verified_scope verified{&own};
    ASSERT_EQ(::dup3(other.get(), own.get(), O_CLOEXEC), own.get());
    EXPECT_TRUE(own.is_ours());
    std::jthread{[&] { EXPECT_FALSE(own.is_ours()); }}.join();
    ASSERT_EQ(::dup3(programs.get(), another.get(), O_CLOEXEC), another.get());
    EXPECT_FALSE(another.is_ours());
  }
  EXPECT_FALSE(own.is_ours());
  ::close(own.get());
  ::close(another.get());
}

// Oracle: another eventfd at the number of a duplicate is not taken for ours, though the epoll that knew of duplicates
// is lost and another descriptor of the library has its number.
TEST(private_fd, duplicate_is_told_from_another_file_after_all_descriptors_were_closed) {
  in_child([] {
    const auto programs = kernel_eventfd();
    const auto other = kernel_eventfd();
    const auto lost = private_fd::duplicate_of(programs.get());
    const int highest_known = std::max(programs.get(), other.get());
    ASSERT_EQ(::syscall(SYS_close_range, highest_known + 1, ~0U, 0), 0);
    EXPECT_FALSE(lost.is_ours());
    std::array<private_fd, 4> owned;
    for (auto& each : owned) each = private_fd{kernel_eventfd()};
    const auto again = private_fd::duplicate_of(programs.get());
    ASSERT_TRUE(again.is_ours());
    ASSERT_EQ(::dup3(other.get(), again.get(), O_CLOEXEC), again.get());
    EXPECT_FALSE(again.is_ours());
    ::close(again.get());
  });
}

TEST(private_fd, has_the_upper_quarter_of_few_numbers) {
  in_child([] {
    const rlimit few{.rlim_cur = 64, .rlim_max = 64};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const private_fd own{kernel_eventfd()};
    EXPECT_GE(own.get(), 48);
    EXPECT_LT(own.get(), 64);
  });
}

TEST(private_fd, of_a_process_that_may_have_a_million_has_a_small_number) {
  in_child([] {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1'000'000);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    const private_fd own{kernel_eventfd()};
    EXPECT_LT(own.get(), 2000);
  });
}

TEST(private_fd, never_has_the_number_of_a_standard_stream) {
  in_child([] {
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    EXPECT_GE(private_fd::with_number_of(kernel_eventfd()).get(), 3);
    EXPECT_GE(private_fd{kernel_eventfd()}.get(), 3);
  });
}

TEST(private_fd, that_needs_no_other_number_keeps_its_own) {
  auto file = kernel_eventfd();
  const int number = file.get();
  const auto own = private_fd::with_number_of(std::move(file));
  EXPECT_EQ(own.get(), number);
  EXPECT_TRUE(own.is_ours());
}

TEST(private_fd, closes_its_file) {
  int number = -1;
  {
    const private_fd own{kernel_eventfd()};
    number = own.get();
  }
  EXPECT_FALSE(is_open(number));
}

TEST(private_fd, that_the_program_has_closed_is_not_ours) {
  private_fd own{kernel_eventfd()};
  ::close(own.get());
  EXPECT_FALSE(own.is_ours());
}

// Oracle: files of each kind that the program opens under the number stay open.
TEST(private_fd, does_not_close_a_file_of_the_program_under_its_number) {
  for (const auto& programs : {temporary_file(), kernel_eventfd(), unique_fd{::epoll_create1(EPOLL_CLOEXEC)}}) {
    private_fd own{kernel_eventfd()};
    const int number = own.get();
    ASSERT_EQ(::dup2(programs.get(), number), number);
    EXPECT_FALSE(own.is_ours());
    own.reset();
    EXPECT_TRUE(is_open(number));
    ::close(number);
  }
}

TEST(private_fd, that_a_younger_one_has_replaced_is_not_ours_and_leaves_it_open) {
  private_fd old{kernel_eventfd()};
  const int number = old.get();
  ::close(number);
  const private_fd young{kernel_eventfd()};
  ASSERT_EQ(young.get(), number);
  EXPECT_TRUE(old.is_superseded());
  old.reset();
  EXPECT_TRUE(young.is_ours());
}

TEST(private_fd, duplicates_a_file_of_the_program_and_changes_nothing_of_it) {
  const auto programs = temporary_file("text");
  const auto own = private_fd::duplicate_of(programs.get());
  EXPECT_GE(own.get(), private_fd::lowest_number());
  EXPECT_TRUE(own.is_ours());
  EXPECT_EQ(::fcntl(programs.get(), F_GETSIG), 0);
  const auto other = temporary_file();
  ASSERT_EQ(::dup2(other.get(), own.get()), own.get());
  EXPECT_FALSE(own.is_ours());
  ::close(own.get());
}

// Eventfds share one inode.
TEST(private_fd, tells_apart_a_duplicate_of_an_eventfd_and_another_eventfd) {
  const auto programs = kernel_eventfd();
  auto own = private_fd::duplicate_of(programs.get());
  EXPECT_TRUE(own.is_ours());
  const auto other = kernel_eventfd();
  const int number = own.get();
  ASSERT_EQ(::dup2(other.get(), number), number);
  EXPECT_FALSE(own.is_ours());
  own.reset();
  EXPECT_TRUE(is_open(number));
  ASSERT_EQ(::dup2(programs.get(), number), number);
  ::close(number);
  const auto again = private_fd::duplicate_of(programs.get());
  EXPECT_TRUE(again.is_ours());
}

TEST(private_fd, of_nothing_is_empty_and_leaves_errno) {
  errno = EBADF;
  const private_fd none{unique_fd{}};
  EXPECT_FALSE(none);
  EXPECT_FALSE(none.is_ours());
  EXPECT_EQ(errno, EBADF);
  EXPECT_FALSE(private_fd::duplicate_of(-1));
}

// All eventfds have one inode. Oracle: the program's eventfd at the number is not taken for the duplicate.
TEST(private_fd, a_duplicate_of_an_eventfd_is_told_from_another_one_with_a_low_limit) {
  in_child([] {
    ASSERT_EQ(::syscall(SYS_close_range, 3, ~0U, 0), 0);
    const rlimit few{.rlim_cur = 40, .rlim_max = 40};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const unique_fd bell{::eventfd(0, EFD_CLOEXEC)};
    const auto duplicate = private_fd::duplicate_of(bell.get());
    ASSERT_TRUE(duplicate);
    EXPECT_TRUE(duplicate.is_ours());
    const unique_fd another{::eventfd(0, EFD_CLOEXEC)};
    ASSERT_EQ(::dup2(another.get(), duplicate.get()), duplicate.get());
    EXPECT_FALSE(duplicate.is_ours());
  });
}

TEST(private_fd, no_duplicate_of_an_eventfd_is_made_that_could_not_be_told_from_another) {
  in_child([] {
    ASSERT_EQ(::syscall(SYS_close_range, 3, ~0U, 0), 0);
    const unique_fd bell{::eventfd(0, EFD_CLOEXEC)};
    int error = 0;
    bool was_made = true;
    {
      const doorbell::test::no_more_fds but_one{1};
      was_made = static_cast<bool>(private_fd::duplicate_of(bell.get()));
      error = errno;
    }
    EXPECT_FALSE(was_made);
    EXPECT_EQ(error, EMFILE);
  });
}

}  // namespace
