// SPDX-License-Identifier: Apache-2.0
//
// Handles of contexts that the program has created without doorbell, in calls that doorbell has refused.
#include "../../aio/context/foreign_context.hpp"

#include <doorbell/aio_calls.hpp>
#include <doorbell/base/call_scope.hpp>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "../../aio/system/kernel_context.hpp"

namespace {

namespace aio = doorbell::aio;

/// A page that cannot be read. The kernel's handles are addresses of pages, too.
class a_foreign_context : public testing::Test {
 protected:
  ~a_foreign_context() override { ::munmap(page_, size); }
  [[nodiscard]] aio::aio_context_t handle() const { return reinterpret_cast<aio::aio_context_t>(page_); }

 private:
  static constexpr std::size_t size = 4096;
  void* page_ = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
};

TEST_F(a_foreign_context, is_none_of_doorbells) {
  aio::aio_context_t own = 0;
  ASSERT_EQ(aio::io_setup(1, &own), 0);
  EXPECT_TRUE(aio::may_be_foreign(handle()));
  EXPECT_FALSE(aio::may_be_foreign(own));
  EXPECT_EQ(aio::io_destroy(own), 0);
}

TEST_F(a_foreign_context, is_none_that_doorbell_has_created_in_the_kernel) {
  const auto made = aio::kernel_context::create(1);
  if (made == 0) GTEST_SKIP() << "no kernel AIO in this system";
  EXPECT_FALSE(aio::may_be_foreign(made));
  aio::kernel_context::destroy(made);
}

TEST_F(a_foreign_context, is_looked_for_without_a_change_of_errno) {
  errno = ENOTTY;
  EXPECT_TRUE(aio::may_be_foreign(handle()));
  EXPECT_EQ(errno, ENOTTY);
}

// The lookup could wait for a lock of the interrupted call.
TEST_F(a_foreign_context, is_not_looked_for_in_a_handler_that_has_interrupted_a_call) {
  const doorbell::base::inside_of_call interrupted;
  EXPECT_FALSE(aio::may_be_foreign(handle()));
}

}  // namespace
