// SPDX-License-Identifier: Apache-2.0
//
// io_queue_init with invalid addresses of a handle. Debian's libaio would crash.
#include <gtest/gtest.h>
#include <libaio.h>
#include <sys/mman.h>

#include <cerrno>

namespace {

constexpr int errno_before = 4242;  // no call sets this value

int init(int nr_events, io_context_t* handle) {
  errno = errno_before;
  const int answer = ::io_queue_init(nr_events, handle);
  EXPECT_EQ(errno, errno_before);
  return answer;
}

TEST(queue_handles, in_memory_that_cannot_be_written_are_refused) {
  EXPECT_EQ(init(8, nullptr), -EFAULT);
  EXPECT_EQ(init(0, nullptr), -EINVAL);
  constexpr std::size_t page = 4096;
  void* const memory = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const handle = static_cast<io_context_t*>(memory);
  for (const bool is_null : {true, false}) {
    *handle = is_null ? nullptr : reinterpret_cast<io_context_t>(memory);
    ASSERT_EQ(::mprotect(memory, page, PROT_READ), 0);
    EXPECT_EQ(init(8, handle), -EFAULT);
    ASSERT_EQ(::mprotect(memory, page, PROT_READ | PROT_WRITE), 0);
  }
  ASSERT_EQ(::mprotect(memory, page, PROT_NONE), 0);
  EXPECT_EQ(init(8, handle), -EFAULT);
  ASSERT_EQ(::mprotect(memory, page, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(init(8, handle), 0);
  EXPECT_EQ(::io_queue_release(*handle), 0);
  ::munmap(memory, page);
}

}  // namespace
