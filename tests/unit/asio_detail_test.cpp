// SPDX-License-Identifier: Apache-2.0
//
// Parts of doorbell::asio in isolation, in states that whole operations seldom reach.
#include <doorbell/asio/detail/file/deferred_completion.hpp>
#include <doorbell/asio/detail/support/pending_posts.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "support/asleep.hpp"

namespace {

using doorbell::asio::detail::carrier_allocator;
using doorbell::asio::detail::file_op;
using doorbell::asio::detail::pending_posts;
using doorbell::test::asleep;

// Oracle: wait_for_none() returns when each post that had begun has ended, and not before.
TEST(asio_pending_posts, are_waited_for_until_the_last_has_ended) {
  pending_posts posts;
  posts.begin();
  posts.begin();
  asleep closer{[&] { posts.wait_for_none(); }};
  posts.end();
  EXPECT_TRUE(closer.still_asleep());
  posts.end();
  closer.join();
}

TEST(asio_pending_posts, are_not_waited_for_after_all_have_ended) {
  pending_posts posts;
  posts.begin();
  posts.end();
  posts.wait_for_none();
  posts.wait_for_none();
}

// Oracle: an object that fits is placed in the carrier without an allocation. Any other object is allocated on the
// heap, and freed.
TEST(asio_carrier_allocator, uses_the_heap_for_objects_that_do_not_fit) {
  constexpr auto size = file_op::carrier::size;
  struct largest {
    alignas(std::max_align_t) std::array<std::byte, size> bytes;
  };
  struct aligned {
    alignas(2 * alignof(std::max_align_t)) std::array<std::byte, size / 2> bytes;
  };
  file_op::carrier memory;
  carrier_allocator<largest> fits{memory};
  auto* const one = fits.allocate(1);
  EXPECT_EQ(static_cast<void*>(one), memory.data());
  fits.deallocate(one, 1);
  auto* const two = fits.allocate(2);
  EXPECT_NE(static_cast<void*>(two), memory.data());
  two[1].bytes.back() = std::byte{1};
  fits.deallocate(two, 2);
  carrier_allocator<aligned> differs{fits};
  auto* const other = differs.allocate(1);
  EXPECT_NE(static_cast<void*>(other), memory.data());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(other) % alignof(aligned), 0U);
  differs.deallocate(other, 1);
  file_op::carrier others;
  EXPECT_TRUE(fits == differs);
  EXPECT_FALSE(fits == carrier_allocator<largest>{others});
}

}  // namespace
