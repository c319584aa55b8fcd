// SPDX-License-Identifier: Apache-2.0
//
// A process that creates requests, contexts and eventfds for a long time has no more descriptors, mappings and memory
// at the end than shortly after the beginning.
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <malloc.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/sanitizer.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace aio = doorbell::aio;
using doorbell::test::inventory;

constexpr std::size_t noise = 20'000;  // bytes that the C library and caches may add

class context_by_handle {
 public:
  context_by_handle() { EXPECT_EQ(aio::io_setup(8, &handle_), 0); }
  ~context_by_handle() { EXPECT_EQ(aio::io_destroy(handle_), 0); }
  context_by_handle(const context_by_handle&) = delete;
  context_by_handle& operator=(const context_by_handle&) = delete;

  /// Completes requests inline, by the engine and by a cancel, with and without an eventfd.
  void use() {
    const auto efd = doorbell::test::kernel_eventfd();
    std::array<iovec, 20> pieces{};
    for (auto& each : pieces) each = {.iov_base = text_.data(), .iov_len = 1};
    std::array<aio::iocb_abi, 6> all{
        aio::prep_pread(file_.get(), text_.data(), 4, 0),
        doorbell::test::by_engine(aio::prep_pread(file_.get(), text_.data(), 4, 0)),
        doorbell::test::by_engine(aio::prep_preadv(file_.get(), pieces, 0)),
        aio::prep_fdsync(file_.get()),
        aio::prep_poll(pipe_.read.get(), POLLIN),
        aio::prep_poll(pipe_.write.get(), POLLOUT),
    };
    for (std::size_t at = 0; at < all.size(); at += 2) {
      all[at].flags |= aio::iocb_abi::flag_resfd;
      all[at].resfd = static_cast<std::uint32_t>(efd.get());
    }
    std::vector<aio::iocb_abi*> list;
    for (auto& each : all) list.push_back(&each);
    ASSERT_EQ(aio::io_submit(handle_, static_cast<long>(list.size()), list.data()), static_cast<int>(list.size()));
    aio::io_cancel(handle_, &all[4], nullptr);
    aio::iocb_abi bad = all[0];
    bad.fildes = -1;
    aio::iocb_abi* one = &bad;
    EXPECT_EQ(aio::io_submit(handle_, 1, &one), -EBADF);
    std::array<aio::io_event, 8> events{};
    ASSERT_EQ(aio::io_getevents(handle_, all.size(), 8, events.data(), nullptr), static_cast<int>(all.size()));
  }

 private:
  aio::aio_context_t handle_ = 0;
  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("text");
  const doorbell::test::pipe_ends pipe_;
  std::array<char, 8> text_{};
};

template <class Round>
void expect_no_growth(Round round, int rounds) {
  for (int warm_up = 0; warm_up < 10; ++warm_up) round();
  const auto before = inventory::now();
  const auto memory = ::mallinfo2().uordblks;
  for (int n = 0; n < rounds; ++n) round();
  EXPECT_EQ(inventory::settled(before), before);
  if (doorbell::test::sanitized) return;  // its allocator does not report to mallinfo2(3), and it detects leaks itself
  EXPECT_TRUE(doorbell::test::eventually([&] { return ::mallinfo2().uordblks < memory + noise; }))
      << ::mallinfo2().uordblks << " bytes after " << memory;
}

TEST(aio_growth, a_context_in_use_does_not_grow) {
  doorbell::test::in_child([] {
    context_by_handle ctx;
    expect_no_growth([&] { ctx.use(); }, 300);
  });
}

TEST(aio_growth, contexts_that_are_created_and_destroyed_leave_nothing_behind) {
  doorbell::test::in_child([] { expect_no_growth([] { context_by_handle{}.use(); }, 200); });
}

}  // namespace
