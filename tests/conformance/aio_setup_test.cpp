// SPDX-License-Identifier: Apache-2.0
//
// io_setup: its checks in their order, and the number of requests that it charges to the limit.
#include <sys/mman.h>
#include <sys/wait.h>

#include <cerrno>

#include "aio_row.hpp"
#include "support/child.hpp"

namespace doorbell::test {
namespace {

constexpr unsigned most_ring_events = 0x10000000U / sizeof(io_event);
constexpr unsigned most_requests = most_ring_events / 2;

class aio_setup : public aio_row {
 protected:
  static int setup(unsigned nr) {
    aio_context_t handle = 0;
    const int answer = side().setup(nr, &handle);
    if (answer == 0) side().destroy(handle);
    return answer;
  }
  /// @return the kernel's limit, which doorbell uses unless DOORBELL_AIO_MAX_NR sets another one.
  static std::uint64_t limit() { return number_in("/proc/sys/fs/aio-max-nr"); }
  static std::uint64_t charged() { return on_kernel() ? number_in("/proc/sys/fs/aio-nr") : aio::aio_nr(); }
};
ON_BOTH_SIDES(aio_setup);

TEST_P(aio_setup, unreadable_handle_is_efault_before_any_other_check) {
  EXPECT_EQ(side().setup(0, nullptr), -EFAULT);
  EXPECT_EQ(side().setup(1, nullptr), -EFAULT);
  EXPECT_EQ(side().setup(1, kernels_address<aio_context_t>()), -EFAULT);
}

// Oracle: the call fails, and no context remains that is charged to the limit.
TEST_P(aio_setup, unwritable_handle_is_efault_and_leaves_no_context) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* const memory = ::mmap(nullptr, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const auto before = charged();
  EXPECT_EQ(side().setup(1, static_cast<aio_context_t*>(memory)), -EFAULT);
  if (!on_kernel()) {
    EXPECT_EQ(charged(), before);
  }
  ASSERT_EQ(::mprotect(memory, page, PROT_NONE), 0);
  EXPECT_EQ(side().setup(1, static_cast<aio_context_t*>(memory)), -EFAULT);
  EXPECT_EQ(::munmap(memory, page), 0);
}

TEST_P(aio_setup, nonzero_handle_is_einval_and_is_not_changed) {
  aio_context_t handle = 7;
  EXPECT_EQ(side().setup(1, &handle), -EINVAL);
  EXPECT_EQ(handle, 7U);
}

TEST_P(aio_setup, nr_0_is_einval) { EXPECT_EQ(setup(0), -EINVAL); }

TEST_P(aio_setup, ring_above_the_maximum_size_is_einval_before_the_limit_is_checked) {
  EXPECT_EQ(setup(most_requests + 1), -EINVAL);
  EXPECT_EQ(setup(0x7fffffff), -EINVAL);
  EXPECT_EQ(setup(0xffffffff), -EINVAL);
}

TEST_P(aio_setup, largest_ring_above_the_limit_is_eagain) {
  if (limit() >= most_requests) GTEST_SKIP() << "this machine allows that many requests";
  EXPECT_EQ(setup(most_requests), -EAGAIN);
}

// The kernel doubles nr in 32 bits, and compares the result, which has wrapped, with the maximum size.
TEST_P(aio_setup, nr_whose_double_wraps_to_a_valid_size_is_eagain) {
  EXPECT_EQ(setup(0x80000000), -EAGAIN);
  EXPECT_EQ(setup(0x80000001), -EAGAIN);
  EXPECT_EQ(setup(0x80000000 + most_requests), -EAGAIN);
  EXPECT_EQ(setup(0x80000000 + most_requests + 1), -EINVAL);
}

TEST_P(aio_setup, nr_above_the_limit_is_eagain) {
  if (limit() >= most_requests) GTEST_SKIP() << "this machine allows as many as a ring can hold";
  EXPECT_EQ(setup(static_cast<unsigned>(limit()) + 1), -EAGAIN);
}

TEST_P(aio_setup, contexts_that_together_exceed_the_limit_are_eagain) {
  if (limit() >= most_requests) GTEST_SKIP() << "this machine allows as many as a ring can hold";
  new_context(1);
  EXPECT_EQ(setup(static_cast<unsigned>(limit())), -EAGAIN);
}

TEST_P(aio_setup, a_failure_leaves_the_handle_0) {
  aio_context_t handle = 0;
  EXPECT_EQ(side().setup(0x80000000, &handle), -EAGAIN);
  EXPECT_EQ(handle, 0U);
}

TEST_P(aio_setup, requested_nr_is_charged) {
  if (!on_kernel() && side().is_by_number()) GTEST_SKIP() << "the drop-in has no call that returns the charged number";
  constexpr unsigned asked = 1024;
  new_context(asked);
  // Other processes may have contexts of the kernel, too.
  if (on_kernel())
    EXPECT_GE(charged(), asked);
  else
    EXPECT_EQ(charged(), asked);
}

TEST_P(aio_setup, destroy_refunds_the_charge) {
  const auto asked = static_cast<unsigned>(std::min<std::uint64_t>(limit() / 3, most_requests));
  // If a part of the charge were not refunded, a later setup would exceed the limit.
  for (int round = 0; round < 4; ++round) EXPECT_EQ(setup(asked), 0);
}

// The kernel's limit is for the whole machine.
TEST_P(aio_setup, beyond_limit_is_per_process) {
  new_context(512);
  const pid_t child = fork_when_quiet();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(charged() >= 512 ? 1 : 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), beyond(1, 0));
}

}  // namespace
}  // namespace doorbell::test
