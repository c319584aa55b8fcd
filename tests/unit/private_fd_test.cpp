// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/private_fd.hpp>

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

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

// Oracle: a duplicate whose number now refers to another eventfd is accepted as ours only in the scope, and only by the
// thread of the scope.
TEST(private_fd, is_not_verified_again_in_a_scope_of_its_verification) {
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

// Oracle: another eventfd at the number of a duplicate is not accepted as ours, although the epoll that identified
// duplicates is lost and another descriptor of the library has its number.
TEST(private_fd, duplicate_is_distinguished_from_another_file_after_all_descriptors_were_closed) {
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

TEST(private_fd, is_in_the_upper_quarter_if_there_are_few_numbers) {
  in_child([] {
    const rlimit few{.rlim_cur = 64, .rlim_max = 64};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const private_fd own{kernel_eventfd()};
    EXPECT_EQ(private_fd::lowest_number(), 48);
    EXPECT_GE(own.get(), 48);
    EXPECT_LT(own.get(), 64);
  });
}

TEST(private_fd, has_a_small_number_even_if_a_million_are_allowed) {
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

TEST(private_fd, with_number_of_keeps_a_suitable_number) {
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

TEST(private_fd, is_not_ours_after_the_program_has_closed_it) {
  private_fd own{kernel_eventfd()};
  ::close(own.get());
  EXPECT_FALSE(own.is_ours());
}

// Oracle: files of each kind that the program opens at the number stay open.
TEST(private_fd, does_not_close_a_file_of_the_program_at_its_number) {
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

TEST(private_fd, is_superseded_by_a_newer_one_and_leaves_it_open) {
  private_fd old{kernel_eventfd()};
  const int number = old.get();
  ::close(number);
  const private_fd young{kernel_eventfd()};
  ASSERT_EQ(young.get(), number);
  EXPECT_TRUE(old.is_superseded());
  old.reset();
  EXPECT_TRUE(young.is_ours());
}

TEST(private_fd, duplicate_of_does_not_change_the_programs_file) {
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

// All eventfds share one inode.
TEST(private_fd, duplicate_of_an_eventfd_is_distinguished_from_another_eventfd) {
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

TEST(private_fd, without_a_file_is_empty_and_does_not_change_errno) {
  errno = EBADF;
  const private_fd none{unique_fd{}};
  EXPECT_FALSE(none);
  EXPECT_FALSE(none.is_ours());
  EXPECT_EQ(errno, EBADF);
  EXPECT_FALSE(private_fd::duplicate_of(-1));
}

// Oracle: after a move, the new owner recognizes its file; no file is closed twice, and none stays open.
TEST(private_fd, keeps_its_file_in_a_move) {
  const auto programs = kernel_eventfd();
  for (const bool is_duplicate : {false, true}) {
    const auto make = [&] {
      return is_duplicate ? private_fd::duplicate_of(programs.get()) : private_fd{kernel_eventfd()};
    };
    auto first = make();
    const int number = first.get();
    private_fd second{std::move(first)};
    EXPECT_EQ(first.get(), -1);  // NOLINT(bugprone-use-after-move): a moved-from object has -1
    EXPECT_EQ(second.get(), number);
    EXPECT_TRUE(second.is_ours());
    auto third = make();
    const int replaced = third.get();
    third = std::move(second);
    EXPECT_EQ(second.get(), -1);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(third.get(), number);
    EXPECT_TRUE(third.is_ours());
    EXPECT_FALSE(is_open(replaced));
    auto& same = third;
    third = std::move(same);
    EXPECT_EQ(third.get(), number);
    EXPECT_TRUE(third.is_ours());
    EXPECT_EQ(third.release(), number);
    EXPECT_EQ(third.get(), -1);
    EXPECT_FALSE(third.is_ours());
    third.reset();
    EXPECT_TRUE(is_open(number));
    ::close(number);
  }
}

TEST(private_fd, does_not_change_errno) {
  constexpr int untouched = EXFULL;
  const auto file = temporary_file();
  private_fd own{kernel_eventfd()};
  const private_fd lost{kernel_eventfd()};
  const auto lost_duplicate = private_fd::duplicate_of(file.get());
  ASSERT_EQ(::close(lost.get()), 0);
  ASSERT_EQ(::close(lost_duplicate.get()), 0);
  auto another = kernel_eventfd();
  errno = untouched;
  EXPECT_FALSE(private_fd::is_of_library(-1));
  EXPECT_FALSE(private_fd::is_of_library(another.get()));
  EXPECT_TRUE(own.is_ours());
  EXPECT_FALSE(lost.is_ours());
  EXPECT_FALSE(lost_duplicate.is_ours());
  EXPECT_FALSE(lost_duplicate.refers_to_its_file());
  EXPECT_EQ(errno, untouched);
  const auto taken_over = private_fd::with_number_of(std::move(another));
  EXPECT_TRUE(taken_over);
  EXPECT_EQ(errno, untouched);
}

TEST(private_fd, is_recognized_as_the_librarys_by_each_of_its_numbers) {
  const private_fd own{kernel_eventfd()};
  const unique_fd duplicate{::dup(own.get())};
  const auto programs = kernel_eventfd();
  const auto duplicate_of_programs = private_fd::duplicate_of(programs.get());
  EXPECT_TRUE(private_fd::is_of_library(own.get()));
  EXPECT_TRUE(private_fd::is_of_library(duplicate.get()));
  EXPECT_FALSE(private_fd::is_of_library(programs.get()));
  EXPECT_FALSE(private_fd::is_of_library(duplicate_of_programs.get()));
}

TEST(private_fd, is_inherited_by_no_program) {
  const auto programs = kernel_eventfd();
  const private_fd own{unique_fd{::eventfd(0, 0)}};
  const auto duplicate = private_fd::duplicate_of(programs.get());
  for (const int fd : {own.get(), duplicate.get()}) EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
}

/// Closes all epolls of the process, as does a program that closes descriptors that it does not know.
/// @return how many there were.
int close_epolls() {
  int closed = 0;
  for (int fd = 3; fd < 4096; ++fd) {
    std::array<char, 64> name{};
    const auto link = "/proc/self/fd/" + std::to_string(fd);
    if (::readlink(link.c_str(), name.data(), name.size() - 1) <= 0) continue;
    if (std::string_view{name.data()} != "anon_inode:[eventpoll]") continue;
    ::close(fd);
    ++closed;
  }
  return closed;
}

// Oracle: while the number of the duplicate refers to the same file as the program's descriptor, counts may go there;
// after the program has replaced one of the two, they may not. The duplicate is never closed, because its number may be
// the program's.
TEST(private_fd, duplicate_refers_to_its_file_although_the_epoll_that_identified_it_is_lost) {
  in_child([] {
    const auto programs = kernel_eventfd();
    const auto other = kernel_eventfd();
    auto duplicate = private_fd::duplicate_of(programs.get());
    EXPECT_FALSE(duplicate.is_doubtful());
    EXPECT_TRUE(duplicate.refers_to_its_file());
    ASSERT_GT(close_epolls(), 0);
    EXPECT_FALSE(duplicate.is_ours());
    for (int new_epolls = 0; new_epolls < 3; ++new_epolls) {
      private_fd newer;
      if (new_epolls > 0) newer = private_fd::duplicate_of(other.get());
      EXPECT_FALSE(newer.is_doubtful());
      EXPECT_TRUE(duplicate.is_doubtful());
      EXPECT_FALSE(duplicate.is_ours());
      EXPECT_TRUE(duplicate.refers_to_its_file());
      const unique_fd kept{::dup(programs.get())};
      ASSERT_EQ(::dup3(other.get(), programs.get(), O_CLOEXEC), programs.get());
      EXPECT_FALSE(duplicate.refers_to_its_file());
      ASSERT_EQ(::dup3(kept.get(), programs.get(), O_CLOEXEC), programs.get());
      ASSERT_EQ(::dup3(other.get(), duplicate.get(), O_CLOEXEC), duplicate.get());
      EXPECT_FALSE(duplicate.refers_to_its_file());
      ASSERT_EQ(::dup3(programs.get(), duplicate.get(), O_CLOEXEC), duplicate.get());
      if (new_epolls == 0) continue;
      EXPECT_EQ(close_epolls(), 1);
      EXPECT_FALSE(newer.is_ours());
    }
    const int number = duplicate.get();
    duplicate.reset();
    EXPECT_TRUE(is_open(number));
  });
}

TEST(private_fd, duplicate_replaced_by_a_newer_one_does_not_refer_to_its_file) {
  in_child([] {
    const auto programs = kernel_eventfd();
    const auto old = private_fd::duplicate_of(programs.get());
    ASSERT_GT(close_epolls(), 0);
    EXPECT_FALSE(old.is_ours());
    ::close(old.get());
    const auto young = private_fd::duplicate_of(programs.get());
    ASSERT_EQ(young.get(), old.get());
    EXPECT_FALSE(old.refers_to_its_file());
    EXPECT_TRUE(young.refers_to_its_file());
  });
}

// The root folders of /proc and /sys have the same inode number. A folder cannot be added to an epoll.
TEST(private_fd, duplicate_is_distinguished_from_a_file_of_another_device) {
  const unique_fd programs{::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const unique_fd other{::open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  struct stat one{};
  struct stat another{};
  if (::fstat(programs.get(), &one) != 0 || ::fstat(other.get(), &another) != 0 || one.st_ino != another.st_ino)
    GTEST_SKIP() << "there are no such folders";
  const auto duplicate = private_fd::duplicate_of(programs.get());
  EXPECT_TRUE(duplicate.is_ours());
  ASSERT_EQ(::dup3(other.get(), duplicate.get(), O_CLOEXEC), duplicate.get());
  EXPECT_FALSE(duplicate.is_ours());
  ::close(duplicate.get());
}

// Oracle: if no other number is free, 0 is used like any other number; if none is free, the error is EMFILE.
TEST(private_fd, keeps_number_0_if_no_other_is_free) {
  in_child([] {
    ::close(0);
    auto file = kernel_eventfd();
    ASSERT_EQ(file.get(), 0);
    const rlimit none{.rlim_cur = 1, .rlim_max = 1};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    errno = 0;
    EXPECT_FALSE(private_fd::duplicate_of(0));
    EXPECT_EQ(errno, EMFILE);
    private_fd own{std::move(file)};
    EXPECT_TRUE(own);
    EXPECT_EQ(own.get(), 0);
    EXPECT_TRUE(own.is_ours());
    own.reset();
    EXPECT_FALSE(is_open(0));
  });
}

// All eventfds share one inode. Oracle: the program's eventfd at the number is not accepted as the duplicate.
TEST(private_fd, duplicate_of_an_eventfd_is_distinguished_from_another_one_with_a_low_descriptor_limit) {
  in_child([] {
    ASSERT_EQ(::syscall(SYS_close_range, 3, ~0U, 0), 0);
    const rlimit few{.rlim_cur = 40, .rlim_max = 40};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const unique_fd efd{::eventfd(0, EFD_CLOEXEC)};
    const auto duplicate = private_fd::duplicate_of(efd.get());
    ASSERT_TRUE(duplicate);
    EXPECT_TRUE(duplicate.is_ours());
    const unique_fd another{::eventfd(0, EFD_CLOEXEC)};
    ASSERT_EQ(::dup2(another.get(), duplicate.get()), duplicate.get());
    EXPECT_FALSE(duplicate.is_ours());
  });
}

TEST(private_fd, duplicate_of_an_eventfd_fails_if_it_could_not_be_distinguished_from_another) {
  in_child([] {
    ASSERT_EQ(::syscall(SYS_close_range, 3, ~0U, 0), 0);
    const unique_fd efd{::eventfd(0, EFD_CLOEXEC)};
    int error = 0;
    bool was_made = true;
    {
      const doorbell::test::no_more_fds but_one{1};
      was_made = static_cast<bool>(private_fd::duplicate_of(efd.get()));
      error = errno;
    }
    EXPECT_FALSE(was_made);
    EXPECT_EQ(error, EMFILE);
  });
}

}  // namespace
