// SPDX-License-Identifier: Apache-2.0
//
// For tests of requests that signal a kernel eventfd: O_DIRECT reads, an eventfd, and the ring as the program reads it.
#pragma once

#include <poll.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "direct_transfers.hpp"
#include "support/fds.hpp"
#include "support/ring_header.hpp"

namespace doorbell::test {

inline constexpr unsigned ring_magic = 0xa10a10a1;

class kernel_signal : public direct {
 protected:
  [[nodiscard]] aio::iocb_abi signalling_read(std::size_t block, const unique_fd& eventfd) const {
    auto made = read_of(block, memory[block]);
    made.flags = aio::iocb_abi::flag_resfd;
    made.resfd = static_cast<std::uint32_t>(eventfd.get());
    return made;
  }
  void submit_reads(const by_handle& ctx, std::size_t count, const unique_fd& eventfd) {
    asked_.clear();
    for (std::size_t block = 0; block < count; ++block) asked_.push_back(signalling_read(block, eventfd));
    ASSERT_EQ(ctx.submit(asked_), static_cast<int>(count));
  }
  /// Gets many events by calls. A context then leaves it to the kernel to signal the eventfd.
  void get_many_by_calls(const by_handle& ctx) {
    submit_reads(ctx, blocks, efd);
    ASSERT_EQ(ctx.events(blocks).size(), blocks);
    ASSERT_EQ(take_until(efd.get(), blocks), blocks);
    submit_reads(ctx, 1, efd);
    ASSERT_EQ(ctx.events(1).size(), 1U);
    ASSERT_EQ(take_until(efd.get(), 1), 1U);
  }
  static unsigned magic_of(const by_handle& ctx) {
    return std::atomic_ref<unsigned>{header_at(ctx.handle()).magic}.load();
  }
  /// Takes all events from the ring without a call, as a program may. @return their number.
  static std::size_t read_ring(const by_handle& ctx) {
    auto& ring = header_at(ctx.handle());
    const auto tail = std::atomic_ref<unsigned>{ring.tail}.load(std::memory_order_acquire);
    const std::atomic_ref<unsigned> head{ring.head};
    const auto count = (tail + ring.nr - head) % ring.nr;
    head.store(tail, std::memory_order_release);
    return count;
  }
  /// Takes the only event in the ring. @return its result; -ENODATA: the ring does not have exactly one event.
  static std::int64_t last_in_ring(const by_handle& ctx) {
    auto& ring = header_at(ctx.handle());
    const auto at = std::atomic_ref<unsigned>{ring.head}.load(std::memory_order_relaxed);
    const auto* const events = reinterpret_cast<const aio::io_event*>(ctx.handle() + sizeof ring);
    const auto tail = std::atomic_ref<unsigned>{ring.tail}.load(std::memory_order_acquire);
    if ((tail + ring.nr - at) % ring.nr != 1) return -ENODATA;
    const auto res = events[at].res;
    std::atomic_ref<unsigned>{ring.head}.store(tail, std::memory_order_release);
    return res;
  }
  static bool is_signalled(int descriptor) {
    pollfd signalled{.fd = descriptor, .events = POLLIN, .revents = 0};
    return ::poll(&signalled, 1, 20'000) == 1;
  }
  static bool is_signalled(const unique_fd& eventfd) { return is_signalled(eventfd.get()); }

  unique_fd efd = kernel_eventfd();

 private:
  std::vector<aio::iocb_abi> asked_;
};

}  // namespace doorbell::test
