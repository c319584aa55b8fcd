// SPDX-License-Identifier: Apache-2.0
//
// file_hints remembers the kind of a number's file, and whether a read is worth a try. It notices soon when the number
// has become another file.
#include "../../aio/io/file_hints.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/files.hpp"

namespace {

using doorbell::aio::file_hints;
using doorbell::base::unique_fd;
using kind = file_hints::kind;

constexpr int enough_requests = 100;  // a change is noticed after fewer requests

unique_fd memory_file() { return unique_fd{::memfd_create("doorbell-test", MFD_CLOEXEC)}; }

class file_hints_of : public testing::Test {
 protected:
  // The file must be on a disk. Otherwise the tests do not test the page cache.
  void SetUp() override {
    if (hints_.of(disk_.get()) == kind::memory) GTEST_SKIP() << "temporary files are in memory";
  }
  /// Which of `requests` requests for the file are worth a try, if each try fails.
  std::vector<int> tries_in_vain(int requests) {
    std::vector<int> tries;
    for (int request = 0; request < requests; ++request) {
      if (hints_.of(disk_.get()) != kind::cached) continue;
      tries.push_back(request);
      hints_.missed(disk_.get());
    }
    return tries;
  }

  unique_fd disk_ = doorbell::test::temporary_file("text");
  file_hints hints_;
};

TEST_F(file_hints_of, each_file_has_its_kind) {
  const doorbell::test::pipe_ends pipe;
  const unique_fd folder{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const auto memory = memory_file();
  for (int times = 0; times < 3 * enough_requests; ++times) {
    ASSERT_EQ(hints_.of(disk_.get()), kind::cached);
    ASSERT_EQ(hints_.of(memory.get()), kind::memory);
    ASSERT_EQ(hints_.of(pipe.read.get()), kind::other);
    ASSERT_EQ(hints_.of(folder.get()), kind::other);
    ASSERT_EQ(hints_.of(-1), kind::other);
  }
  if (::fcntl(disk_.get(), F_SETFL, O_DIRECT) != 0) return;
  file_hints anew;
  EXPECT_EQ(anew.of(disk_.get()), kind::direct);
}

TEST_F(file_hints_of, descriptor_0_has_the_kind_of_its_file) {
  const unique_fd kept{::fcntl(0, F_DUPFD_CLOEXEC, 3)};
  const auto memory = memory_file();
  ASSERT_EQ(::dup2(memory.get(), 0), 0);
  file_hints anew;
  EXPECT_EQ(anew.of(0), kind::memory);
  EXPECT_FALSE(anew.has_hits_in_a_row(0));
  if (kept)
    ::dup2(kept.get(), 0);
  else
    ::close(0);
}

TEST_F(file_hints_of, a_number_that_became_another_file_has_its_kind_after_a_few_dozen_requests) {
  const auto memory = memory_file();
  const doorbell::test::pipe_ends pipe;
  ASSERT_EQ(hints_.of(disk_.get()), kind::cached);
  for (const auto& [other, what] : {std::pair{memory.get(), kind::memory}, std::pair{pipe.read.get(), kind::other}}) {
    ASSERT_EQ(::dup3(other, disk_.get(), O_CLOEXEC), disk_.get());
    int requests = 0;
    while (hints_.of(disk_.get()) != what) ASSERT_LT(++requests, enough_requests);
  }
  disk_.reset();
}

TEST_F(file_hints_of, numbers_that_share_a_place_keep_their_own_kinds) {
  const auto memory = memory_file();
  const unique_fd other{::dup3(memory.get(), disk_.get() + static_cast<int>(file_hints::size), O_CLOEXEC)};
  ASSERT_TRUE(other) << errno;
  for (int times = 0; times < 3; ++times) {
    ASSERT_EQ(hints_.of(other.get()), kind::memory);
    ASSERT_EQ(hints_.of(disk_.get()), kind::cached);
    hints_.missed(other.get());
    for (int hits = 0; hits < file_hints::enough_hits; ++hits) hints_.hit(other.get());
    ASSERT_EQ(hints_.of(disk_.get()), kind::cached);
    ASSERT_FALSE(hints_.has_hits_in_a_row(disk_.get()));
  }
}

// Oracle: the gaps between tries grow up to a bound, so that failed tries cost little, and a file that comes into the
// cache is noticed.
TEST_F(file_hints_of, a_file_that_is_not_in_the_cache_is_tried_ever_more_rarely_up_to_a_bound) {
  const auto tries = tries_in_vain(1000);
  ASSERT_GT(tries.size(), 10U);
  EXPECT_LT(tries.size(), 100U);
  EXPECT_EQ(tries.front(), 0);
  int last_gap = 0;
  for (std::size_t at = 1; at < tries.size(); ++at) {
    const int gap = tries[at] - tries[at - 1];
    EXPECT_GE(gap, last_gap);
    EXPECT_GT(gap, 1);
    EXPECT_LT(gap, 30);
    last_gap = gap;
  }
}

TEST_F(file_hints_of, a_hit_makes_each_request_worth_a_try_again) {
  const auto tries = tries_in_vain(200);
  hints_.hit(disk_.get());
  int skipped = 0;
  while (hints_.of(disk_.get()) != kind::cached) ASSERT_LT(++skipped, 30);
  for (int times = 0; times < 50; ++times) {
    hints_.hit(disk_.get());
    ASSERT_EQ(hints_.of(disk_.get()), kind::cached);
  }
  EXPECT_EQ(tries_in_vain(1).size(), 1U);
}

TEST_F(file_hints_of, only_hits_without_a_miss_between_them_are_hits_in_a_row) {
  ASSERT_EQ(hints_.of(disk_.get()), kind::cached);
  const auto hits_needed = [&] {
    int hits = 0;
    for (; !hints_.has_hits_in_a_row(disk_.get()) && hits < enough_requests; ++hits) hints_.hit(disk_.get());
    return hits;
  };
  EXPECT_EQ(hits_needed(), file_hints::enough_hits);
  for (int more = 0; more < 3 * enough_requests; ++more) hints_.hit(disk_.get());
  EXPECT_TRUE(hints_.has_hits_in_a_row(disk_.get()));
  hints_.missed(disk_.get());
  EXPECT_FALSE(hints_.has_hits_in_a_row(disk_.get()));
  EXPECT_EQ(hits_needed(), file_hints::enough_hits);
}

}  // namespace
