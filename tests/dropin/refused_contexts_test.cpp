// SPDX-License-Identifier: Apache-2.0
//
// Calls by syscall(2) for contexts that are not doorbell's, in a sandbox that refuses the kernel's AIO. The program
// gets EINVAL, as for a context that does not exist: where the kernel refuses AIO, no context of the kernel can exist.
// Other errors are passed on.
#include "by_number.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "support/child.hpp"
#include "support/refused_calls.hpp"

namespace {

namespace by_number = doorbell::test::by_number;

TEST(refused_contexts, do_not_exist) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  struct row {
    int kernel, program;
  };
  for (const auto& [kernel, program] : {row{ENOSYS, EINVAL}, row{EPERM, EINVAL}, row{EACCES, EINVAL},
                                        row{EINVAL, EINVAL}, row{ENOMEM, ENOMEM}, row{EINTR, EINTR}})
    doorbell::test::in_child([&] {
      doorbell::test::refuse(SYS_io_destroy, kernel);
      errno = 0;
      EXPECT_EQ(by_number::destroy(4096), -1);
      EXPECT_EQ(errno, program) << "the kernel's errno is " << kernel;
    });
}

}  // namespace
