// SPDX-License-Identifier: Apache-2.0
//
// Parts of doorbell::asio in isolation, in states that whole operations seldom reach.
#include <doorbell/asio/detail/file/busy_polling.hpp>
#include <doorbell/asio/detail/file/deferred_completion.hpp>
#include <doorbell/asio/detail/file/open_file.hpp>
#include <doorbell/asio/detail/support/pending_posts.hpp>

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include "support/asleep.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
using doorbell::asio::detail::busy_polling;
using doorbell::asio::detail::carrier_allocator;
using doorbell::asio::detail::file_access;
using doorbell::asio::detail::file_op;
using doorbell::asio::detail::file_use;
using doorbell::asio::detail::open_file;
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

// Oracle: after the blocks have been freed, the heap has grown by less than a tenth of them; malloc(3) may keep a few.
// (Sanitizers report 0 bytes, and look for leaks themselves.)
TEST(asio_carrier_allocator, frees_the_blocks_of_the_heap) {
  using block = std::array<std::byte, 2 * file_op::carrier::size>;
  const auto used = [] {
    const auto heap = ::mallinfo2();
    return heap.uordblks + heap.hblkhd;
  };
  file_op::carrier memory;
  carrier_allocator<block> blocks{memory};
  const auto before = used();
  for (int i = 0; i < 1000; ++i) blocks.deallocate(blocks.allocate(1), 1);
  EXPECT_LT(used(), before + 100 * sizeof(block));
}

TEST(asio_busy_polling, lasts_for_its_time_after_the_last_operation) {
  EXPECT_FALSE(busy_polling{}.goes_on(true));
  EXPECT_FALSE(busy_polling{-1h}.goes_on(true));
  EXPECT_TRUE(busy_polling{1h}.goes_on(false)) << "the time begins when it is set";
  busy_polling polling{1ms};
  const auto limit = std::chrono::steady_clock::now() + 3s;
  while (polling.goes_on(false)) ASSERT_LT(std::chrono::steady_clock::now(), limit);
  busy_polling longer{10s};
  longer = polling;
  EXPECT_FALSE(longer.goes_on(false));
  EXPECT_TRUE(polling.goes_on(true)) << "an operation begins the time anew";
}

/// An operation that only stands in the queues of its file.
class queued_op final : public file_op {
 public:
  explicit queued_op(file_use use) : file_op{use, 0} {}
  void post() override {}
  void dispatch() override {}
  void destroy() noexcept override {}
};

/// Makes an open_file without an execution context, which these tests do not use.
std::shared_ptr<open_file> opened(doorbell::test::unique_fd fd, file_access access) {
  std::error_code ec;
  const auto facts = doorbell::aio::file_facts::look_up(fd.get(), ec);
  EXPECT_FALSE(ec);
  return std::make_shared<open_file>(doorbell::asio::detail::proactor_link{}, fd.release(), facts, access);
}

// Oracle: a read may be executed inline only while no operation of its stream is outstanding. Otherwise it would read
// the bytes that an earlier operation reads or replaces.
TEST(asio_open_file, of_a_stream_allows_inline_reads_at_its_position_while_no_operation_is_outstanding) {
  auto fd = doorbell::test::temporary_file("abcdef");
  ASSERT_EQ(::lseek(fd.get(), 2, SEEK_SET), 2);
  const auto file = opened(std::move(fd), file_access::stream);
  EXPECT_EQ(file->offset(), 2U);
  doorbell::aio::iocb read;
  EXPECT_TRUE(file->begin_inline(read));
  EXPECT_EQ(read.offset, 2);
  file->end_inline(read, 1);
  EXPECT_EQ(file->position(), 3U);
  file->end_inline(read, -EIO);
  EXPECT_EQ(file->position(), 3U);

  queued_op first{file_use::writes};
  queued_op second{file_use::reads};
  EXPECT_TRUE(file->enter(first));
  EXPECT_EQ(first.offset(), 3U);
  EXPECT_FALSE(file->begin_inline(read));
  EXPECT_FALSE(file->enter(second));
  first.request().nbytes = 1;
  first.complete(1);
  EXPECT_EQ(file->leave(first), &second);
  EXPECT_EQ(second.offset(), 4U);
  EXPECT_FALSE(file->begin_inline(read));
  second.complete(-EIO);
  EXPECT_EQ(file->leave(second), nullptr);
  EXPECT_TRUE(file->begin_inline(read));
  EXPECT_EQ(read.offset, 4);
}

TEST(asio_open_file, of_a_pipe_has_a_queue_for_each_direction_and_allows_no_inline_reads) {
  doorbell::test::pipe_ends pipe;
  const auto file = opened(std::move(pipe.read), file_access::stream);
  doorbell::aio::iocb read;
  EXPECT_FALSE(file->offset());
  EXPECT_FALSE(file->begin_inline(read));
  std::array<queued_op, 2> reads{queued_op{file_use::reads}, queued_op{file_use::reads}};
  std::array<queued_op, 2> writes{queued_op{file_use::writes}, queued_op{file_use::writes}};
  for (auto* const ops : {&reads, &writes}) {
    EXPECT_TRUE(file->enter(ops->front()));
    EXPECT_FALSE(file->enter(ops->back()));
  }
  for (auto* const ops : {&writes, &reads}) {
    EXPECT_EQ(file->leave(ops->front()), &ops->back());
    EXPECT_EQ(file->leave(ops->back()), nullptr);
  }
}

TEST(asio_open_file, of_random_access_allows_inline_reads_beside_outstanding_operations) {
  const auto file = opened(doorbell::test::temporary_file("abcdef"), file_access::random);
  queued_op outstanding{file_use::writes};
  EXPECT_TRUE(file->enter(outstanding));
  doorbell::aio::iocb read;
  read.offset = 5;
  EXPECT_TRUE(file->begin_inline(read));
  EXPECT_EQ(read.offset, 5);
  EXPECT_EQ(file->leave(outstanding), nullptr);
}

}  // namespace
