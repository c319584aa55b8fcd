// SPDX-License-Identifier: Apache-2.0
//
// compare_files() with each of its two system calls, with both and with neither.
#include <doorbell/base/same_file.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/refused_calls.hpp"

namespace {

using doorbell::base::compare_files;
using doorbell::test::in_child;
using doorbell::test::kernel_eventfd;
using doorbell::test::unique_fd;

constexpr int dupfd_query = 1024 + 3;

/// Makes the kernel appear as one before Linux 6.10. Other commands of fcntl(2) may fail, too.
void refuse_query() { doorbell::test::refuse(SYS_fcntl, EINVAL, 1, dupfd_query & ~1024); }

void refuse_kcmp() { doorbell::test::refuse(SYS_kcmp, EPERM); }

bool has_query() {
  const auto one = kernel_eventfd();
  return ::fcntl(one.get(), dupfd_query, one.get()) == 1;
}

bool has_kcmp() {
  const auto one = kernel_eventfd();
  return ::syscall(SYS_kcmp, ::getpid(), ::getpid(), 0, one.get(), one.get()) == 0;
}

/// @param known whether a system call can compare the files.
void expect_answers(bool known) {
  const auto one = kernel_eventfd();
  const auto other = kernel_eventfd();
  const unique_fd same{::dup(one.get())};
  const int closed = ::dup(one.get());
  ::close(closed);
  const auto answer = [&](bool is_same) { return known ? std::optional{is_same} : std::nullopt; };
  EXPECT_EQ(compare_files(one.get(), same.get()), answer(true));
  EXPECT_EQ(compare_files(one.get(), one.get()), answer(true));
  EXPECT_EQ(compare_files(one.get(), other.get()), answer(false));
  if (!known) return;
  EXPECT_EQ(compare_files(one.get(), closed), false);
  EXPECT_EQ(compare_files(closed, one.get()), false);
  EXPECT_EQ(compare_files(-1, -1), false);
}

TEST(compare_files, distinguishes_files) { expect_answers(has_query() || has_kcmp()); }

TEST(compare_files, needs_no_kcmp_if_fcntl_can_compare) {
  if (!doorbell::test::can_refuse() || !has_query()) GTEST_SKIP() << "there is no F_DUPFD_QUERY, or no seccomp(2)";
  in_child([] {
    refuse_kcmp();
    expect_answers(true);
  });
}

TEST(compare_files, needs_no_fcntl_if_kcmp_can_compare) {
  if (!doorbell::test::can_refuse() || !has_kcmp()) GTEST_SKIP() << "there is no kcmp(2), or no seccomp(2)";
  in_child([] {
    refuse_query();
    expect_answers(true);
  });
}

TEST(compare_files, returns_no_result_if_both_are_refused) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "there is no seccomp(2)";
  in_child([] {
    refuse_query();
    refuse_kcmp();
    expect_answers(false);
  });
}

}  // namespace
