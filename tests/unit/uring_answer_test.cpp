// SPDX-License-Identifier: Apache-2.0
//
// How the results of system calls on a ring are classified, and which of them mean that the ring is lost.
#include "../../aio/engine/uring/uring_answer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace {

using doorbell::aio::classify;
using doorbell::aio::uring_answer;

constexpr int largest_errno = 4095;  // the kernel returns errors from -1 to -4095

constexpr std::array transient{EINTR, EAGAIN, EBUSY, ENOMEM};
constexpr std::array refused{EPERM, EACCES, ENOSYS};

bool is_in(const auto& some, int error) { return std::ranges::find(some, error) != some.end(); }

TEST(uring_answer, a_count_is_done) {
  for (const int count : {0, 1, 64, 32768}) EXPECT_EQ(classify(count), uring_answer::done) << count;
}

TEST(uring_answer, a_timeout_is_done) { EXPECT_EQ(classify(-ETIME), uring_answer::done); }

TEST(uring_answer, errors_that_may_pass_are_transient) {
  for (const int error : transient) EXPECT_EQ(classify(-error), uring_answer::transient) << error;
}

TEST(uring_answer, errors_of_a_sandbox_are_refusals) {
  for (const int error : refused) EXPECT_EQ(classify(-error), uring_answer::refused) << error;
}

// Oracle: only the listed errors are retried, because a lost ring stays lost.
TEST(uring_answer, all_other_errors_mean_that_the_ring_is_gone) {
  for (int error = 1; error <= largest_errno; ++error) {
    if (error == ETIME || is_in(transient, error) || is_in(refused, error)) continue;
    EXPECT_EQ(classify(-error), uring_answer::gone) << error;
  }
}

}  // namespace
