// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/unique_fd.hpp>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <type_traits>
#include <utility>

#include "support/fds.hpp"

namespace {

using doorbell::base::unique_fd;
using doorbell::test::is_open;

static_assert(!std::is_copy_constructible_v<unique_fd> && !std::is_copy_assignable_v<unique_fd>);
static_assert(std::is_nothrow_move_constructible_v<unique_fd> && std::is_nothrow_move_assignable_v<unique_fd>);

int open_one() { return ::eventfd(0, EFD_CLOEXEC); }

TEST(unique_fd, default_constructed_is_empty) {
  const unique_fd none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.get(), -1);
}

TEST(unique_fd, closes_at_the_end_of_its_scope) {
  const int fd = open_one();
  {
    const unique_fd owner{fd};
    EXPECT_TRUE(owner);
    EXPECT_EQ(owner.get(), fd);
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
}

TEST(unique_fd, zero_is_a_valid_descriptor) {
  unique_fd zero{0};
  EXPECT_TRUE(zero);
  EXPECT_EQ(zero.release(), 0);
}

TEST(unique_fd, a_move_leaves_the_source_empty_and_closes_nothing) {
  const int fd = open_one();
  unique_fd from{fd};
  const unique_fd to{std::move(from)};
  EXPECT_FALSE(from);  // NOLINT(bugprone-use-after-move): the test checks the moved-from state
  EXPECT_EQ(to.get(), fd);
  EXPECT_TRUE(is_open(fd));
}

TEST(unique_fd, a_move_onto_an_owner_closes_its_previous_descriptor) {
  const int old_fd = open_one();
  const int new_fd = open_one();
  unique_fd owner{old_fd};
  owner = unique_fd{new_fd};
  EXPECT_EQ(owner.get(), new_fd);
  EXPECT_FALSE(is_open(old_fd));
  EXPECT_TRUE(is_open(new_fd));
}

TEST(unique_fd, a_move_onto_itself_keeps_the_descriptor) {
  const int fd = open_one();
  unique_fd owner{fd};
  unique_fd& same = owner;
  owner = std::move(same);
  EXPECT_EQ(owner.get(), fd);
  EXPECT_TRUE(is_open(fd));
}

TEST(unique_fd, release_leaves_the_descriptor_open) {
  int fd = -1;
  {
    unique_fd owner{open_one()};
    fd = owner.release();
    EXPECT_FALSE(owner);
  }
  EXPECT_TRUE(is_open(fd));
  const unique_fd closes_it{fd};
}

TEST(unique_fd, reset_closes_the_previous_descriptor_and_owns_the_new_one) {
  const int old_fd = open_one();
  const int new_fd = open_one();
  unique_fd owner{old_fd};
  owner.reset(new_fd);
  EXPECT_FALSE(is_open(old_fd));
  EXPECT_EQ(owner.get(), new_fd);
  owner.reset();
  EXPECT_FALSE(owner);
  EXPECT_FALSE(is_open(new_fd));
}

}  // namespace
