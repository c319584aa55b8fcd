// SPDX-License-Identifier: Apache-2.0
//
// The ring at the handle: what a program finds there, what it may do to it, and the slots.
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

/// The kernel counts slots by processor, and a thread sees only those of its own.
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

  /// Completes one request, whose event is in the ring when this returns: its bell has rung.
  void complete_one(aio_context_t handle, iocb_abi& request) {
    request = ringing(file_read(), bell_.get());
    ASSERT_EQ(submit(handle, request), 1);
    wait_for_bells(1);
  }
  void wait_for_bells(int times) {
    for (std::uint64_t rung = 0; rung < static_cast<std::uint64_t>(times);) {
      std::uint64_t count = 0;
      ASSERT_EQ(::read(bell_.get(), &count, sizeof count), 8);
      rung += count;
    }
  }

  /// Submits until there is no slot left, and waits until all that was taken has completed.
  /// @return how many were taken.
  int fill(aio_context_t handle) {
    iocb_abi write = ringing(as_write(file_read()), bell_.get());
    int taken = 0;
    while (submit(handle, write) == 1) ++taken;
    EXPECT_EQ(submit(handle, write), -EAGAIN);
    wait_for_bells(taken);
    return taken;
  }

  static std::size_t bytes_of(aio_context_t handle) {
    return sizeof(ring_header) + std::size_t{header_at(handle).nr} * sizeof(io_event);
  }

  base::unique_fd bell_ = kernel_eventfd(0, 0);
};
ON_BOTH_SIDES(aio_ring);

TEST_P(aio_ring, holds_whole_pages_of_events) {
  for (const unsigned nr : {1U, 2U, 61U, 62U, 63U, 64U, 125U, 126U, 127U, 128U, 254U, 255U, 1022U, 1023U, 1024U})
    EXPECT_EQ(header_at(new_context(nr)).nr, ring_capacity(nr)) << nr;
}

TEST_P(aio_ring, has_the_sizes_that_are_known_for_2_processors) {
  if (possible_cpus() != 2 || ::sysconf(_SC_PAGESIZE) != 4096) GTEST_SKIP();
  EXPECT_EQ(header_at(new_context(1)).nr, 127U);
  EXPECT_EQ(header_at(new_context(64)).nr, 255U);
  EXPECT_EQ(header_at(new_context(128)).nr, 383U);
  EXPECT_EQ(header_at(new_context(1024)).nr, 2175U);
}

TEST_P(aio_ring, header_of_a_new_context) {
  const auto& header = header_at(new_context());
  EXPECT_EQ(header.head, 0U);
  EXPECT_EQ(header.tail, 0U);
  EXPECT_EQ(header.magic, 0xa10a10a1U);
  EXPECT_EQ(header.compat_features, 1U);
  EXPECT_EQ(header.incompat_features, 0U);
  EXPECT_EQ(header.header_length, 32U);
}

TEST_P(aio_ring, an_event_is_in_it_when_its_bell_rings) {
  const auto ctx = new_context();
  iocb_abi request;
  complete_one(ctx, request);
  EXPECT_EQ(header_at(ctx).head, 0U);
  EXPECT_EQ(header_at(ctx).tail, 1U);
  EXPECT_EQ(static_cast<void*>(event_in(ctx, 0).obj), &request);
  EXPECT_EQ(event_in(ctx, 0).res, 5);
}

TEST_P(aio_ring, getting_an_event_moves_head) {
  const auto ctx = new_context();
  iocb_abi request;
  complete_one(ctx, request);
  EXPECT_EQ(events_there(ctx).size(), 1U);
  EXPECT_EQ(header_at(ctx).head, 1U);
  EXPECT_EQ(header_at(ctx).tail, 1U);
}

TEST_P(aio_ring, a_program_may_take_events_itself_by_moving_head) {
  const auto ctx = new_context();
  iocb_abi request;
  complete_one(ctx, request);
  header_at(ctx).head = 1;
  EXPECT_TRUE(events_there(ctx).empty());
}

// Oracle: each event comes, though nobody but the program ever looks for it.
TEST_P(aio_ring, a_program_that_never_asks_for_its_events_finds_them_there) {
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

// Oracle: as above, and what is asked for comes once, whoever has filled the ring.
TEST_P(aio_ring, a_program_that_asks_at_last_gets_what_is_left) {
  const auto ctx = new_context();
  // Each into a buffer of its own.
  std::array<iocb_abi, 3> reads{by_engine(file_read()), by_engine(file_read()), by_engine(file_read())};
  for (int n = 0; n < 10; ++n) {
    ASSERT_EQ(submit(ctx, {&reads[0], &reads[1], &reads[2]}), 3);
    EXPECT_EQ(events(ctx, 3).size(), 3U);
  }
  EXPECT_EQ(header_at(ctx).head, header_at(ctx).tail);
}

/// A program that makes calls for its events first, and then reads them in the ring by itself.
class aio_ring_after_calls : public aio_ring {
 protected:
  /// Submits one poll after another, which become ready after the submit. The first event may be late, because the
  /// library notices within a few seconds that calls have ceased.
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
  /// Requests whose events the program sleeps for.
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

// Oracle of these four: each event is found in the ring, though no call asks for it; only the first may be late.
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

TEST_P(aio_ring, runs_round) {
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

TEST_P(aio_ring, takes_at_least_as_many_requests_as_were_asked_for) {
  const on_one_processor here;
  for (const unsigned nr : {1U, 60U, 200U}) {
    const auto ctx = new_context(nr);
    EXPECT_GE(fill(ctx), static_cast<int>(nr));
    EXPECT_LT(fill(ctx), static_cast<int>(header_at(ctx).nr));
  }
}

TEST_P(aio_ring, one_event_got_admits_exactly_one_request) {
  const on_one_processor here;
  const auto ctx = new_context();
  fill(ctx);
  events(ctx, 1);
  EXPECT_EQ(fill(ctx), 1);
}

TEST_P(aio_ring, one_event_taken_by_moving_head_admits_exactly_one_request) {
  const on_one_processor here;
  const auto ctx = new_context();
  fill(ctx);
  header_at(ctx).head = 1;
  EXPECT_EQ(fill(ctx), 1);
  header_at(ctx).head = 3;
  EXPECT_EQ(fill(ctx), 2);
}

TEST_P(aio_ring, moves_by_mremap_and_is_found_at_its_new_address) {
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

// The kernel looks at the memory for who it is.
TEST_P(aio_ring, beyond_a_context_whose_ring_was_unmapped_lives_on) {
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

TEST_P(aio_ring, beyond_a_context_with_a_wrong_id_is_found) {
  const auto ctx = new_context();
  const auto id = header_at(ctx).id;
  header_at(ctx).id = 0x1234567;
  EXPECT_EQ(answer_to(ctx, file_read()), beyond(-EINVAL, 1));
  header_at(ctx).id = id;
  EXPECT_EQ(answer_to(ctx, file_read()), 1);
}

TEST_P(aio_ring, what_is_written_over_the_rest_of_the_header_changes_nothing) {
  const auto ctx = new_context();
  auto& header = header_at(ctx);
  header.magic = header.compat_features = header.incompat_features = header.header_length = header.nr = 0xffffffff;
  EXPECT_EQ(answer_to(ctx, file_read()), 1);
}

TEST_P(aio_ring, a_wild_head_is_taken_modulo_the_capacity) {
  const auto ctx = new_context();
  const auto capacity = header_at(ctx).nr;
  header_at(ctx).head = 3 * capacity;
  EXPECT_TRUE(events_there(ctx, 1000).empty());
  header_at(ctx).head = capacity + 5;
  EXPECT_EQ(events_there(ctx, 1000).size(), capacity - 5U);
  EXPECT_EQ(answer_to(ctx, file_read()), 1);
}

// The kernel believes the tail that stands there.
TEST_P(aio_ring, beyond_a_wild_tail_is_not_believed) {
  const auto ctx = new_context();
  header_at(ctx).tail = 3;
  EXPECT_EQ(events_there(ctx).size(), static_cast<std::size_t>(beyond(3, 0)));
}

TEST_P(aio_ring, requests_complete_and_ring_whatever_is_written_over_it) {
  const auto ctx = new_context();
  iocb_abi poll = ringing(poll_of_pipe(), bell_.get());
  ASSERT_EQ(submit(ctx, poll), 1);
  const auto before = header_at(ctx);
  std::memset(reinterpret_cast<void*>(ctx), 0xff, bytes_of(ctx));
  fill_pipe();
  wait_for_bells(1);
  header_at(ctx).id = before.id;
  EXPECT_EQ(destroy(ctx), 0);
}

}  // namespace
}  // namespace doorbell::test
