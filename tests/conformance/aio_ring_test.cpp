// SPDX-License-Identifier: Apache-2.0
//
// The ring at the handle: its contents, changes of it by the program, and slots.
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>

#include "aio_row.hpp"
#include "support/by_engine.hpp"
#include "support/eventually.hpp"

namespace doorbell::test {
namespace {

/// Keeps the thread on one processor for its lifetime: the kernel caches free slots by processor, and a thread cannot
/// use those that another processor holds.
class on_one_processor {
 public:
  on_one_processor() {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
  }
  ~on_one_processor() { ::sched_setaffinity(0, sizeof before_, &before_); }
  on_one_processor(const on_one_processor&) = delete;
  on_one_processor& operator=(const on_one_processor&) = delete;

 private:
  cpu_set_t before_{};
};

class aio_ring : public aio_row {
 protected:
  static io_event event_in(aio_context_t handle, unsigned at) {
    return reinterpret_cast<const io_event*>(handle + sizeof(ring_header))[at];
  }

  /// Completes one request. Its eventfd has been signalled, and its event is in the ring, when this returns.
  void complete_one(aio_context_t handle, iocb_abi& request) {
    request = with_resfd(file_read(), efd_.get());
    ASSERT_EQ(submit(handle, request), 1);
    wait_for_eventfds(1);
  }
  void wait_for_eventfds(int times) {
    for (std::uint64_t signals = 0; signals < static_cast<std::uint64_t>(times);) {
      std::uint64_t count = 0;
      ASSERT_EQ(::read(efd_.get(), &count, sizeof count), 8);
      signals += count;
    }
  }

  /// Submits requests until there is no free slot, and waits until they have completed.
  /// @return the number of accepted requests.
  int fill(aio_context_t handle) {
    iocb_abi write = with_resfd(as_write(file_read()), efd_.get());
    int taken = 0;
    while (submit(handle, write) == 1) ++taken;
    EXPECT_EQ(submit(handle, write), -EAGAIN);
    wait_for_eventfds(taken);
    return taken;
  }

  static std::size_t bytes_of(aio_context_t handle) {
    return sizeof(ring_header) + std::size_t{header_at(handle).nr} * sizeof(io_event);
  }

  base::unique_fd efd_ = kernel_eventfd(0, 0);
};
ON_BOTH_SIDES(aio_ring);

TEST_P(aio_ring, holds_whole_pages_of_events) {
  for (const unsigned nr : {1U, 2U, 61U, 62U, 63U, 64U, 125U, 126U, 127U, 128U, 254U, 255U, 1022U, 1023U, 1024U})
    EXPECT_EQ(header_at(new_context(nr)).nr, ring_capacity(nr)) << nr;
}

TEST_P(aio_ring, has_the_known_capacities_for_2_processors) {
  if (possible_cpus() != 2 || ::sysconf(_SC_PAGESIZE) != 4096) GTEST_SKIP();
  EXPECT_EQ(header_at(new_context(1)).nr, 127U);
  EXPECT_EQ(header_at(new_context(64)).nr, 255U);
  EXPECT_EQ(header_at(new_context(128)).nr, 383U);
  EXPECT_EQ(header_at(new_context(1024)).nr, 2175U);
}

TEST_P(aio_ring, new_context_has_an_empty_ring_with_a_valid_header) {
  const auto& header = header_at(new_context());
  EXPECT_EQ(header.head, 0U);
  EXPECT_EQ(header.tail, 0U);
  EXPECT_EQ(header.magic, 0xa10a10a1U);
  EXPECT_EQ(header.compat_features, 1U);
  EXPECT_EQ(header.incompat_features, 0U);
  EXPECT_EQ(header.header_length, 32U);
}

TEST_P(aio_ring, event_is_in_the_ring_when_its_eventfd_is_signalled) {
  const auto ctx = new_context();
  iocb_abi request;
  complete_one(ctx, request);
  EXPECT_EQ(header_at(ctx).head, 0U);
  EXPECT_EQ(header_at(ctx).tail, 1U);
  EXPECT_EQ(static_cast<void*>(event_in(ctx, 0).obj), &request);
  EXPECT_EQ(event_in(ctx, 0).res, 5);
}

TEST_P(aio_ring, fetching_an_event_moves_head) {
  const auto ctx = new_context();
  iocb_abi request;
  complete_one(ctx, request);
  EXPECT_EQ(events_there(ctx).size(), 1U);
  EXPECT_EQ(header_at(ctx).head, 1U);
  EXPECT_EQ(header_at(ctx).tail, 1U);
}

TEST_P(aio_ring, moving_head_takes_events) {
  const auto ctx = new_context();
  iocb_abi request;
  complete_one(ctx, request);
  header_at(ctx).head = 1;
  EXPECT_TRUE(events_there(ctx).empty());
}

// Oracle: each event appears in the ring, though the program makes no call for events.
TEST_P(aio_ring, program_that_never_calls_io_getevents_finds_its_events) {
  const auto ctx = new_context();
  iocb_abi read = by_engine(file_read());
  auto& header = header_at(ctx);
  const std::atomic_ref tail{header.tail};
  for (unsigned n = 1; n <= 10; ++n) {
    ASSERT_EQ(submit(ctx, read), 1);
    ASSERT_TRUE(eventually([&] { return tail.load() == n; })) << n;
    EXPECT_EQ(event_in(ctx, header.head).res, 5);
    ++header.head;
  }
}

// Oracle: io_getevents returns each event exactly once, whichever thread has put it into the ring.
TEST_P(aio_ring, io_getevents_returns_each_event_once) {
  const auto ctx = new_context();
  // Each read has its own buffer.
  std::array<iocb_abi, 3> reads{by_engine(file_read()), by_engine(file_read()), by_engine(file_read())};
  for (int n = 0; n < 10; ++n) {
    ASSERT_EQ(submit(ctx, {&reads[0], &reads[1], &reads[2]}), 3);
    EXPECT_EQ(events(ctx, 3).size(), 3U);
  }
  EXPECT_EQ(header_at(ctx).head, header_at(ctx).tail);
}

/// A program that first fetches its events by calls, and later takes them from the ring itself.
class aio_ring_after_calls : public aio_ring {
 protected:
  /// Submits polls one after the other, each of which becomes ready after its submit. The first event may be late: the
  /// library needs a few seconds to notice that the program has stopped calling io_getevents.
  void find_events_in_ring(aio_context_t handle) {
    auto& header = header_at(handle);
    const std::atomic_ref tail{header.tail};
    for (int n = 0; n < 10; ++n) {
      iocb_abi poll = poll_of_pipe();
      ASSERT_EQ(submit(handle, poll), 1);
      const auto began = std::chrono::steady_clock::now();
      fill_pipe();
      ASSERT_TRUE(eventually([&] { return tail.load(std::memory_order_acquire) != header.head; })) << n;
      const auto limit = n == 0 ? std::chrono::milliseconds{10'000} : std::chrono::milliseconds{500};
      EXPECT_LT(std::chrono::steady_clock::now() - began, limit) << n;
      EXPECT_EQ(event_in(handle, header.head).res & POLLIN, POLLIN);
      header.head = (header.head + 1) % header.nr;
      empty_pipe();
    }
  }
  /// Submits requests, and sleeps in io_getevents for their events.
  void get_events_by_calls(aio_context_t handle, int times) {
    for (int n = 0; n < times; ++n) {
      iocb_abi poll = poll_of_pipe();
      ASSERT_EQ(submit(handle, poll), 1);
      std::thread writer{[&] { fill_pipe(); }};
      EXPECT_EQ(result(handle, POLLIN), POLLIN);
      writer.join();
      empty_pipe();
    }
  }
  void empty_pipe() {
    char byte = 0;
    ASSERT_EQ(::read(pipe_.read.get(), &byte, 1), 1);
  }
};
ON_BOTH_SIDES(aio_ring_after_calls);

// Oracle of these four tests: each event appears in the ring without a call for it. Only the first one may be late.
TEST_P(aio_ring_after_calls, a_program_that_called_once_finds_its_events_there) {
  const auto ctx = new_context();
  get_events_by_calls(ctx, 1);
  find_events_in_ring(ctx);
}

TEST_P(aio_ring_after_calls, a_program_that_slept_for_many_events_finds_the_next_there) {
  const auto ctx = new_context();
  get_events_by_calls(ctx, 20);
  iocb_abi read = by_engine(file_read());
  ASSERT_EQ(submit(ctx, read), 1);
  auto& header = header_at(ctx);
  const std::atomic_ref tail{header.tail};
  ASSERT_TRUE(eventually([&] { return tail.load(std::memory_order_acquire) != header.head; }));
  EXPECT_EQ(event_in(ctx, header.head).res, 5);
  header.head = (header.head + 1) % header.nr;
  find_events_in_ring(ctx);
}

TEST_P(aio_ring_after_calls, a_program_that_called_before_its_first_request_finds_its_events_there) {
  const auto ctx = new_context();
  EXPECT_TRUE(events_there(ctx).empty());
  find_events_in_ring(ctx);
}

TEST_P(aio_ring_after_calls, a_program_that_calls_again_gets_its_events_and_finds_later_ones_there) {
  const auto ctx = new_context();
  for (int round = 0; round < 2; ++round) {
    get_events_by_calls(ctx, 3);
    find_events_in_ring(ctx);
  }
  get_events_by_calls(ctx, 3);
  EXPECT_EQ(header_at(ctx).head, header_at(ctx).tail);
}

TEST_P(aio_ring, wraps_around) {
  const auto ctx = new_context(1);
  const unsigned rounds = 2 * header_at(ctx).nr + 3;
  iocb_abi read = file_read();
  for (unsigned round = 0; round < rounds; ++round) {
    read.data = reinterpret_cast<void*>(std::uintptr_t{round});
    ASSERT_EQ(submit(ctx, read), 1);
    ASSERT_EQ(events(ctx, 1).front().data, read.data);
  }
  EXPECT_EQ(header_at(ctx).tail, rounds % header_at(ctx).nr);
}

TEST_P(aio_ring, accepts_at_least_nr_requests) {
  const on_one_processor here;
  for (const unsigned nr : {1U, 60U, 200U}) {
    const auto ctx = new_context(nr);
    EXPECT_GE(fill(ctx), static_cast<int>(nr));
    EXPECT_LT(fill(ctx), static_cast<int>(header_at(ctx).nr));
  }
}

TEST_P(aio_ring, fetching_one_event_admits_exactly_one_request) {
  const on_one_processor here;
  const auto ctx = new_context();
  fill(ctx);
  events(ctx, 1);
  EXPECT_EQ(fill(ctx), 1);
}

TEST_P(aio_ring, each_event_taken_by_moving_head_admits_exactly_one_request) {
  const on_one_processor here;
  const auto ctx = new_context();
  fill(ctx);
  header_at(ctx).head = 1;
  EXPECT_EQ(fill(ctx), 1);
  header_at(ctx).head = 3;
  EXPECT_EQ(fill(ctx), 2);
}

TEST_P(aio_ring, moved_by_mremap_is_found_at_its_new_address) {
  const auto ctx = new_context();
  iocb_abi before = file_read();
  ASSERT_EQ(submit(ctx, before), 1);
  const auto bytes = bytes_of(ctx);
  void* const place = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* const there = ::mremap(reinterpret_cast<void*>(ctx), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  ASSERT_EQ(there, place);
  const auto moved_to = reinterpret_cast<aio_context_t>(there);
  moved(ctx, moved_to);

  EXPECT_EQ(result(moved_to), 5);
  iocb_abi after = file_read();
  EXPECT_EQ(submit(moved_to, after), 1);
  EXPECT_EQ(events(moved_to, 1).front().res, 5);
  EXPECT_EQ(submit(ctx, after), -EINVAL);
  EXPECT_EQ(destroy(ctx), -EINVAL);
  EXPECT_EQ(destroy(moved_to), 0);
}

// The kernel finds a context by the id in the ring's memory.
TEST_P(aio_ring, beyond_context_survives_munmap_of_its_ring) {
  const auto ctx = new_context();
  iocb_abi request = file_read();
  ASSERT_EQ(submit(ctx, request), 1);
  ASSERT_EQ(::munmap(reinterpret_cast<void*>(ctx), bytes_of(ctx)), 0);
  std::array<io_event, 1> event{};
  EXPECT_EQ(getevents(ctx, 1, 1, event.data(), nullptr), beyond(-EINVAL, 1));
  EXPECT_EQ(submit(ctx, request), beyond(-EINVAL, 1));
  EXPECT_EQ(side().destroy(ctx), beyond(-EINVAL, 0));
  moved(ctx, 0);
}

TEST_P(aio_ring, beyond_context_with_an_overwritten_id_is_found) {
  const auto ctx = new_context();
  const auto id = header_at(ctx).id;
  header_at(ctx).id = 0x1234567;
  EXPECT_EQ(answer_to(ctx, file_read()), beyond(-EINVAL, 1));
  header_at(ctx).id = id;
  EXPECT_EQ(answer_to(ctx, file_read()), 1);
}

TEST_P(aio_ring, overwriting_the_rest_of_the_header_has_no_effect) {
  const auto ctx = new_context();
  auto& header = header_at(ctx);
  header.magic = header.compat_features = header.incompat_features = header.header_length = header.nr = 0xffffffff;
  EXPECT_EQ(answer_to(ctx, file_read()), 1);
}

TEST_P(aio_ring, head_out_of_range_is_taken_modulo_the_capacity) {
  const auto ctx = new_context();
  const auto capacity = header_at(ctx).nr;
  header_at(ctx).head = 3 * capacity;
  EXPECT_TRUE(events_there(ctx, 1000).empty());
  header_at(ctx).head = capacity + 5;
  EXPECT_EQ(events_there(ctx, 1000).size(), capacity - 5U);
  EXPECT_EQ(answer_to(ctx, file_read()), 1);
}

// The kernel uses the tail that is in the ring's memory.
TEST_P(aio_ring, beyond_overwritten_tail_is_ignored) {
  const auto ctx = new_context();
  header_at(ctx).tail = 3;
  EXPECT_EQ(events_there(ctx).size(), static_cast<std::size_t>(beyond(3, 0)));
}

TEST_P(aio_ring, requests_complete_and_signal_though_the_ring_is_overwritten) {
  const auto ctx = new_context();
  iocb_abi poll = with_resfd(poll_of_pipe(), efd_.get());
  ASSERT_EQ(submit(ctx, poll), 1);
  const auto before = header_at(ctx);
  std::memset(reinterpret_cast<void*>(ctx), 0xff, bytes_of(ctx));
  fill_pipe();
  wait_for_eventfds(1);
  header_at(ctx).id = before.id;
  EXPECT_EQ(destroy(ctx), 0);
}

}  // namespace
}  // namespace doorbell::test
