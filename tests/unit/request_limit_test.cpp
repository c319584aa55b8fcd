// SPDX-License-Identifier: Apache-2.0
//
// The limit of requests of a process: its source, and its effect on contexts. Each case runs in a child, because the
// library reads the limit once; the parent makes no call.
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "support/child.hpp"
#include "support/restricted.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace aio = doorbell::aio;
using doorbell::test::in_child;

constexpr std::size_t highest = std::numeric_limits<std::uint64_t>::max();

std::optional<std::size_t> kernels_limit() {
  std::ifstream file{"/proc/sys/fs/aio-max-nr"};
  std::size_t value = 0;
  return file >> value ? std::optional{value} : std::nullopt;
}

void set_limit(const char* text) { ::setenv("DOORBELL_AIO_MAX_NR", text, 1); }

/// A context by handle, or the error of io_setup.
class setup {
 public:
  explicit setup(unsigned nr) : answer_{aio::io_setup(nr, &handle_)} {}
  ~setup() {
    if (handle_ != 0) {
      EXPECT_EQ(aio::io_destroy(handle_), 0);
    }
  }
  setup(const setup&) = delete;
  setup& operator=(const setup&) = delete;
  [[nodiscard]] int answer() const { return answer_; }

 private:
  aio::aio_context_t handle_ = 0;
  int answer_;
};

TEST(request_limit, is_the_number_in_the_environment) {
  for (const std::size_t number : {std::size_t{0}, std::size_t{1}, std::size_t{70'001}, highest - 1}) {
    SCOPED_TRACE(number);
    in_child([&] {
      set_limit(std::to_string(number).c_str());
      EXPECT_EQ(aio::aio_max_nr(), number);
    });
  }
}

// The highest number means "not known yet", so it cannot be a limit.
TEST(request_limit, is_at_most_one_less_than_the_highest_number) {
  in_child([] {
    set_limit(std::to_string(highest).c_str());
    EXPECT_EQ(aio::aio_max_nr(), highest - 1);
    EXPECT_EQ(setup{8}.answer(), 0);
  });
}

TEST(request_limit, is_the_kernels_if_the_environment_has_no_number) {
  const auto kernels = kernels_limit();
  if (!kernels) GTEST_SKIP() << "no /proc/sys/fs/aio-max-nr";
  for (const char* const text : {"", "12x", "x12", " 12", "12 ", "-1", "0x12", "18446744073709551616"}) {
    SCOPED_TRACE(text);
    in_child([&] {
      set_limit(text);
      EXPECT_EQ(aio::aio_max_nr(), *kernels);
    });
  }
}

TEST(request_limit, is_the_kernels_default_if_proc_cannot_be_read) {
  if (!doorbell::test::can_lose_proc()) GTEST_SKIP() << "chroot(2) is refused";
  in_child([] {
    ASSERT_TRUE(doorbell::test::lose_proc());
    EXPECT_EQ(aio::aio_max_nr(), 65536U);
  });
}

// Oracle: contexts, one or several, get exactly as many requests as the limit allows.
TEST(request_limit, is_reached_exactly) {
  in_child([] {
    set_limit("100");
    EXPECT_EQ(setup{101}.answer(), -EAGAIN);
    EXPECT_EQ(setup{100}.answer(), 0);
    const setup first{60};
    EXPECT_EQ(first.answer(), 0);
    EXPECT_EQ(setup{41}.answer(), -EAGAIN);
    EXPECT_EQ(aio::aio_nr(), 60U);
    const setup second{40};
    EXPECT_EQ(second.answer(), 0);
    EXPECT_EQ(aio::aio_nr(), 100U);
    EXPECT_EQ(setup{1}.answer(), -EAGAIN);
    EXPECT_EQ(aio::aio_nr(), 100U);
  });
}

TEST(request_limit, of_0_allows_no_context) {
  in_child([] {
    set_limit("0");
    EXPECT_EQ(setup{1}.answer(), -EAGAIN);
    EXPECT_EQ(setup{0}.answer(), -EINVAL);
  });
}

// The size of such a ring wraps to 0, in the kernel, too.
TEST(request_limit, of_any_size_allows_no_context_of_2_to_the_31) {
  in_child([] {
    set_limit(std::to_string(highest).c_str());
    EXPECT_EQ(setup{0x80000000U}.answer(), -EAGAIN);
    EXPECT_EQ(aio::aio_nr(), 0U);
  });
}

}  // namespace
