// SPDX-License-Identifier: Apache-2.0
//
// io_submit: reads of data in the page cache. The event is in the ring when the call returns, even if the read stops at
// the end of the file or faults on the buffer.
#include <doorbell/aio.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>

#include "aio_row.hpp"
#include "support/child.hpp"
#include "support/refused_calls.hpp"
#include "support/supervised_child.hpp"

DOORBELL_TEST_FORKS

namespace doorbell::test {
namespace {

constexpr int rounds = 100;  // many, because after cache misses submit leaves some reads to the engine without a try
constexpr std::size_t page = 4096;

/// @return a page that is readable and not writable.
void* read_only_page() {
  static void* const mapped = ::mmap(nullptr, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(mapped, MAP_FAILED);
  return mapped;
}

class aio_hot_read : public aio_row {
 protected:
  /// Submits `request`, and expects its event in the ring when io_submit returns. @return its result.
  std::int64_t result_there(iocb_abi request) {
    EXPECT_EQ(submit(ctx_, request), 1);
    const auto there = events_there(ctx_);
    EXPECT_EQ(there.size(), 1U);
    return there.empty() ? result(ctx_) : there.front().res;
  }

  const aio_context_t ctx_ = new_context();
  unique_fd memory_{::memfd_create("doorbell-test", MFD_CLOEXEC)};
};
ON_BOTH_SIDES(aio_hot_read);

TEST_P(aio_hot_read, at_the_end_of_the_file_completes_before_submit_returns) {
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    EXPECT_EQ(result_there(aio::prep_pread(file_.get(), text_.data(), text_.size(), 0)), 12);
    EXPECT_EQ(result_there(aio::prep_pread(file_.get(), text_.data(), text_.size(), 12)), 0);
  }
}

TEST_P(aio_hot_read, into_several_buffers_at_the_end_of_the_file_completes_before_submit_returns) {
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    std::array<iovec, 2> buffers{iovec{text_.data(), 5}, iovec{text_.data() + 10, 50}};
    EXPECT_EQ(result_there(aio::prep_preadv(file_.get(), buffers, 0)), 12);
    EXPECT_EQ(std::string(text_.data() + 10, 7), ", world");
  }
}

TEST_P(aio_hot_read, into_a_bad_buffer_completes_before_submit_returns) {
  ASSERT_EQ(::write(memory_.get(), "12345678", 8), 8);
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    EXPECT_EQ(result_there(aio::prep_pread(file_.get(), read_only_page(), 8, 0)), -EFAULT);
    EXPECT_EQ(result_there(aio::prep_pread(memory_.get(), read_only_page(), 8, 0)), -EFAULT);
  }
}

TEST_P(aio_hot_read, into_a_bad_buffer_after_a_good_one_is_short) {
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    std::array<iovec, 2> buffers{iovec{text_.data(), 5}, iovec{read_only_page(), 5}};
    EXPECT_EQ(result_there(aio::prep_preadv(file_.get(), buffers, 0)), 5);
    std::array<iovec, 2> bad_first{iovec{read_only_page(), 5}, iovec{text_.data(), 5}};
    EXPECT_EQ(result_there(aio::prep_preadv(file_.get(), bad_first, 0)), -EFAULT);
  }
}

// Oracle: both events are there, and the read sees the write.
TEST_P(aio_hot_read, after_a_write_of_the_same_submit_completes_before_submit_returns) {
  for (const int fd : {file_.get(), memory_.get()})
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      std::array letter{static_cast<char>('a' + round % 26)};
      iocb_abi write = aio::prep_pwrite(fd, letter.data(), 1, 0);
      iocb_abi read = aio::prep_pread(fd, text_.data(), 1, 0);
      ASSERT_EQ(submit(ctx_, {&write, &read}), 2);
      const auto there = events_there(ctx_);
      EXPECT_EQ(there.size(), 2U);
      for (auto missing = there.size(); missing < 2; ++missing) EXPECT_EQ(result(ctx_), 1);
      EXPECT_EQ(text_[0], letter[0]);
    }
}

// The first reads are cache hits, after which submit tries reads of the file inline.
TEST_P(aio_hot_read, after_a_pending_poll_completes_before_submit_returns) {
  for (int round = 0; round < rounds; ++round)
    EXPECT_EQ(result_there(aio::prep_pread(file_.get(), text_.data(), 12, 0)), 12);
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    iocb_abi poll = poll_of_pipe();
    iocb_abi read = aio::prep_pread(file_.get(), text_.data(), 12, 0);
    ASSERT_EQ(submit(ctx_, {&poll, &read}), 2);
    const auto there = events_there(ctx_);
    ASSERT_EQ(there.size(), 1U);
    EXPECT_EQ(there.front().res, 12);
    fill_pipe();
    EXPECT_EQ(result(ctx_, POLLIN), POLLIN);
    char byte = 0;
    ASSERT_EQ(::read(pipe_.read.get(), &byte, 1), 1);
  }
}

// A read that the checks of io_submit refuse gets their error and no event, although the read itself would fault, too.
TEST_P(aio_hot_read, refused_by_a_check_has_no_event) {
  iocb_abi request = aio::prep_pread(file_.get(), kernels_address<char>(), 8, 0);
  EXPECT_EQ(submit(ctx_, request), -EFAULT);
  EXPECT_TRUE(events_there(ctx_).empty());
}

/// The calls of aio::context, which uses the engine of the process.
class aio_hot_read_by_context : public testing::Test {
 protected:
  std::int64_t result_there(aio::iocb request) {
    EXPECT_EQ(ctx_.submit({&request}), 1U);
    std::array<io_event, 2> events{};
    auto there = ctx_.get_events(0, events);
    EXPECT_EQ(there.size(), 1U);
    if (there.empty()) there = ctx_.get_events(1, events, std::chrono::seconds{20});
    return there.empty() ? -ETIME : there.front().res;
  }

  aio::context ctx_{8};
  base::unique_fd file_ = temporary_file("hello, world");
  std::array<char, 64> text_{};
};

TEST_F(aio_hot_read_by_context, short_or_faulting_completes_before_submit_returns) {
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    EXPECT_EQ(result_there(aio::prep_pread(file_.get(), text_.data(), text_.size(), 7)), 5);
    EXPECT_EQ(result_there(aio::prep_pread(file_.get(), read_only_page(), 8, 0)), -EFAULT);
  }
}

/// preadv2(2) with RWF_NOWAIT returns 0 instead of -EAGAIN, as on Linux 5.9 and 5.10 (readv(2), BUGS). Here it always
/// does, so that no result depends on the page cache. The threads and the ring of an engine read without the flag.
class aio_nowait_answers_0 : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  }
  static void answer_0() { refuse(SYS_preadv2, 0, 5, RWF_NOWAIT); }

  static constexpr std::size_t size = 4 * page;
  static constexpr std::int64_t middle = 2 * page;

  base::unique_fd file_ = temporary_file(std::string(size, 'x'));
};

void expect_reads_of_the_middle(aio_context_t handle, int fd, std::int64_t middle) {
  std::array<char, page> text{};
  const std::array<iovec, 2> buffers{iovec{text.data(), 100}, iovec{text.data() + 100, text.size() - 100}};
  for (auto request : {aio::prep_pread(fd, text.data(), text.size(), middle), aio::prep_preadv(fd, buffers, middle)}) {
    text.fill(0);
    iocb_abi* asked = &request;
    ASSERT_EQ(aio::io_submit(handle, 1, &asked), 1);
    io_event event{};
    ASSERT_EQ(aio::io_getevents(handle, 1, 1, &event, nullptr), 1);
    EXPECT_EQ(event.res, std::int64_t{page});
    EXPECT_EQ(std::ranges::count(text, 'x'), std::int64_t{page});
  }
}

TEST_F(aio_nowait_answers_0, in_the_middle_of_a_file_is_not_taken_for_its_end) {
  in_child([&] {
    answer_0();
    aio_context_t handle = 0;
    ASSERT_EQ(aio::io_setup(8, &handle), 0);
    for (int round = 0; round < rounds && !HasFailure(); ++round)
      expect_reads_of_the_middle(handle, file_.get(), middle);
    EXPECT_EQ(aio::io_destroy(handle), 0);
  });
}

TEST_F(aio_nowait_answers_0, in_the_middle_of_a_file_is_not_taken_for_its_end_by_context) {
  in_child([&] {
    answer_0();
    aio::context ctx{8};
    std::array<char, page> text{};
    auto request = aio::prep_pread(file_.get(), text.data(), text.size(), middle);
    ASSERT_EQ(ctx.submit({&request}), 1U);
    std::array<io_event, 1> events{};
    ASSERT_EQ(ctx.get_events(1, events).size(), 1U);
    EXPECT_EQ(events[0].res, std::int64_t{page});
    EXPECT_EQ(std::ranges::count(text, 'x'), std::int64_t{page});
  });
}

TEST_F(aio_nowait_answers_0, at_the_end_of_a_file_completes_before_submit_returns) {
  in_child([&] {
    answer_0();
    aio::context ctx{8};
    std::array<char, page> text{};
    auto request = aio::prep_pread(file_.get(), text.data(), text.size(), size);
    ASSERT_EQ(ctx.submit({&request}), 1U);
    std::array<io_event, 1> events{};
    ASSERT_EQ(ctx.get_events(0, events).size(), 1U);
    EXPECT_EQ(events[0].res, 0);
  });
}

/// Some calls of preadv2(2) with RWF_NOWAIT fail with EAGAIN, as if the kernel could not take a lock immediately.
class aio_nowait_answers_eagain : public testing::Test {
 protected:
  static constexpr int hot = 32;    // initial reads that are cache hits
  static constexpr int tried = 16;  // the maximum number of reads that submit tries, of 100 in a row that fail

  static void SetUpTestSuite() {
    if (!can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  }

  /// Runs in a child: reads `count` times, and expects an event for each read. The events of the first `there` reads
  /// must be in the ring when io_submit returns.
  void read(int count, int there) {
    aio_context_t handle = 0;
    ASSERT_EQ(aio::io_setup(8, &handle), 0);
    for (int n = 0; n < count && !testing::Test::HasFailure(); ++n) {
      std::array<char, 12> text{};
      auto request = aio::prep_pread(file_.get(), text.data(), text.size(), 0);
      iocb_abi* asked = &request;
      ASSERT_EQ(aio::io_submit(handle, 1, &asked), 1);
      io_event event{};
      timespec none{};
      ASSERT_EQ(aio::io_getevents(handle, 1, 1, &event, n < there ? &none : nullptr), 1) << n;
      EXPECT_EQ(event.res, 12);
      EXPECT_EQ(std::string(text.data(), text.size()), "hello, world");
    }
    EXPECT_EQ(aio::io_destroy(handle), 0);
  }
  /// Runs read(count, there) in a child, and counts the child's calls of preadv2(2) with RWF_NOWAIT.
  /// @param is_refused gets the number of such a call, from 0 on, and returns whether the call fails with EAGAIN.
  /// @return the number of such calls.
  template <class Refused>
  int calls_of(int count, int there, Refused is_refused) {
    int calls = 0;
    const std::array reads{long{SYS_preadv2}};
    supervised_child child{reads, [&] { read(count, there); }};
    child.supervise(std::chrono::seconds{40}, [&](const supervised_call& call) {
      if ((call.arguments[5] & RWF_NOWAIT) == 0) return supervised_child::pass;
      return is_refused(calls++) ? EAGAIN : supervised_child::pass;
    });
    return calls;
  }

  base::unique_fd file_ = temporary_file("hello, world");
};

// Oracle: the events are in the ring when io_submit returns, after two more calls for each read.
TEST_F(aio_nowait_answers_eagain, twice_per_read_of_a_cached_file_does_not_keep_submit_from_completing_it) {
  constexpr int disturbed = 20;
  const auto is_refused = [](int call) { return call >= hot && (call - hot) % 3 != 2; };
  EXPECT_EQ(calls_of(hot + disturbed, hot + disturbed, is_refused), hot + 3 * disturbed);
}

// Oracle: the engine reads. Submit retries the first read twice, and no other read.
TEST_F(aio_nowait_answers_eagain, after_some_hits_of_a_cached_file_leaves_reads_to_the_engine) {
  EXPECT_LE(calls_of(hot + 100, hot, [](int call) { return call >= hot; }), hot + tried + 2);
}

// Oracle: the engine reads, after one call for each read that submit tries.
TEST_F(aio_nowait_answers_eagain, always_for_an_uncached_file_leaves_reads_to_the_engine) {
  EXPECT_LE(calls_of(100, 0, [](int) { return true; }), tried);
}

}  // namespace
}  // namespace doorbell::test
