// SPDX-License-Identifier: Apache-2.0
//
// O_DIRECT transfers that a context passes to the kernel's AIO: their results, and how requests complete where the
// kernel's AIO is refused or full.
#include <doorbell/aio_calls.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <vector>

#include "direct_transfers.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"
#include "support/threads.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace aio = doorbell::aio;
using doorbell::base::unique_fd;
using doorbell::test::block_size;
using doorbell::test::blocks;
using doorbell::test::by_handle;
using doorbell::test::direct;
using doorbell::test::direct_file;
using doorbell::test::in_child;
using doorbell::test::letter_of;

void refuse_threads() {
  doorbell::test::refuse(SYS_clone3, EAGAIN);
  doorbell::test::refuse(SYS_clone, EAGAIN);
}

TEST_F(direct, reads_and_writes_need_no_thread) {
  in_child([&] {
    refuse_threads();
    const by_handle ctx{8};
    EXPECT_EQ(ctx.result_of(read_of(3, memory[0])), block_size);
    EXPECT_EQ(memory[0][0], letter_of(3));
    auto write = aio::prep_pwrite(file.get(), memory[0], block_size, 5 * block_size);
    EXPECT_EQ(ctx.result_of(write), block_size);
    EXPECT_EQ(ctx.result_of(read_of(5, memory[1])), block_size);
    EXPECT_EQ(memory[1][0], letter_of(3));
    const std::array parts{iovec{.iov_base = memory[2], .iov_len = block_size},
                           iovec{.iov_base = memory[3], .iov_len = block_size}};
    EXPECT_EQ(ctx.result_of(aio::prep_preadv(file.get(), parts, 6 * block_size)), 2 * block_size);
    EXPECT_EQ(memory[2][0], letter_of(6));
    EXPECT_EQ(memory[3][0], letter_of(7));
  });
}

// Oracle: each read has one event, with its bytes in its buffer.
TEST_F(direct, a_batch_has_one_event_for_each_request) {
  const by_handle ctx{blocks};
  std::vector<aio::iocb_abi> asked;
  for (std::size_t block = 0; block < blocks; ++block) asked.push_back(read_of(block, memory[block]));
  ASSERT_EQ(ctx.submit(asked), static_cast<int>(blocks));
  const auto all = ctx.events(blocks);
  ASSERT_EQ(all.size(), blocks);
  std::array<int, blocks> answers{};
  for (const auto& each : all) {
    EXPECT_EQ(each.res, block_size);
    const auto block = static_cast<std::size_t>((static_cast<char*>(each.data) - memory[0])) / block_size;
    ++answers[block];
    EXPECT_EQ(memory[block][block_size - 1], letter_of(block));
  }
  for (const int count : answers) EXPECT_EQ(count, 1);
}

// Oracle: the same, where only some of the requests go to the kernel's AIO.
TEST_F(direct, a_batch_of_all_kinds_has_one_event_for_each_request) {
  const by_handle ctx{64};
  const auto cached = doorbell::test::temporary_file(std::string(block_size, 'c'));
  const doorbell::test::pipe_ends pipe;
  ASSERT_EQ(::write(pipe.write.get(), "p", 1), 1);
  std::vector<aio::iocb_abi> asked;
  for (std::size_t round = 0; round < 4; ++round) {
    asked.push_back(read_of(2 * round, memory[2 * round]));
    asked.push_back(aio::prep_fsync(file.get()));
    asked.push_back(read_of(2 * round + 1, memory[2 * round + 1]));
    asked.push_back(aio::prep_pread(cached.get(), memory[20 + round], block_size, 0));
  }
  asked.push_back(aio::prep_pread(pipe.read.get(), memory[30], 1, 0));
  ASSERT_EQ(ctx.submit(asked), static_cast<int>(asked.size()));
  const auto all = ctx.events(asked.size());
  ASSERT_EQ(all.size(), asked.size());
  for (const auto& each : all) {
    const auto& what = *static_cast<const aio::iocb_abi*>(each.obj);
    EXPECT_EQ(each.res, what.lio_opcode == static_cast<int>(aio::opcode::fsync) ? 0 : static_cast<int>(what.nbytes));
  }
  for (std::size_t block = 0; block < 8; ++block) EXPECT_EQ(memory[block][0], letter_of(block));
}

TEST_F(direct, more_requests_than_the_kernels_context_holds_all_complete) {
  constexpr std::size_t many = 4000;
  const by_handle ctx{many};
  std::vector<aio::iocb_abi> asked;
  for (std::size_t n = 0; n < many; ++n) asked.push_back(read_of(n % blocks, memory[n % blocks]));
  ASSERT_EQ(ctx.submit(asked), static_cast<int>(many));
  const auto all = ctx.events(many);
  ASSERT_EQ(all.size(), many);
  for (const auto& each : all) EXPECT_EQ(each.res, block_size);
}

// While the reads are in flight, the program closes the file, and another file gets its number.
TEST_F(direct, requests_belong_to_the_file_that_was_open_at_submit) {
  const by_handle ctx{blocks};
  const auto other = direct_file('A');
  for (int round = 0; round < 100; ++round) {
    const unique_fd number{::fcntl(file.get(), F_DUPFD_CLOEXEC, 0)};
    std::vector<aio::iocb_abi> asked;
    for (std::size_t block = 0; block < blocks; ++block) {
      asked.push_back(read_of(block, memory[block]));
      asked.back().fildes = number.get();
    }
    ASSERT_EQ(ctx.submit(asked), static_cast<int>(blocks));
    ASSERT_EQ(::dup3(other.get(), number.get(), O_CLOEXEC), number.get());
    for (const auto& each : ctx.events(blocks)) ASSERT_EQ(each.res, block_size);
    for (std::size_t block = 0; block < blocks; ++block) ASSERT_EQ(memory[block][0], letter_of(block));
  }
}

// The results of the kernel's AIO and of a worker for a transfer that O_DIRECT does not allow.
TEST_F(direct, a_misaligned_transfer_has_the_same_result_by_the_kernel_and_by_a_worker) {
  const auto answers = [&](const by_handle& ctx) {
    auto offset = read_of(0, memory[0]);
    offset.offset = 7;
    auto length = read_of(0, memory[0]);
    length.nbytes = 7;
    auto address = read_of(0, memory[0] + 1);
    auto past_the_end = read_of(blocks, memory[0]);
    auto unmapped = read_of(0, nullptr);
    return std::array{ctx.result_of(offset), ctx.result_of(length), ctx.result_of(past_the_end),
                      ctx.result_of(unmapped), ctx.result_of(address)};
  };
  const by_handle ctx{8};
  const auto by_kernel = answers(ctx);
  EXPECT_EQ(by_kernel[0], -EINVAL);
  EXPECT_EQ(by_kernel[2], 0);
  EXPECT_EQ(by_kernel[3], -EFAULT);
  in_child([&] {
    doorbell::test::refuse_kernel_aio();
    const by_handle by_workers{8};
    EXPECT_EQ(answers(by_workers), by_kernel);
  });
}

// EAGAIN: aio-max-nr is exhausted. Other errors: a sandbox or the kernel itself refuses the calls.
class refused : public direct, public testing::WithParamInterface<int> {};

TEST_P(refused, io_setup_leaves_requests_to_workers) {
  in_child([&] {
    doorbell::test::refuse(SYS_io_setup, GetParam());
    const by_handle ctx{8};
    for (std::size_t block = 0; block < 8; ++block) {
      EXPECT_EQ(ctx.result_of(read_of(block, memory[block])), block_size);
      EXPECT_EQ(memory[block][0], letter_of(block));
    }
  });
}

TEST_P(refused, io_submit_leaves_requests_to_workers) {
  in_child([&] {
    const by_handle ctx{8};
    EXPECT_EQ(ctx.result_of(read_of(0, memory[0])), block_size);
    doorbell::test::refuse(SYS_io_submit, GetParam());
    for (std::size_t block = 0; block < 8; ++block) {
      EXPECT_EQ(ctx.result_of(read_of(block, memory[block])), block_size);
      EXPECT_EQ(memory[block][0], letter_of(block));
    }
  });
}

TEST_P(refused, io_getevents_does_not_withhold_completions) {
  in_child([&] {
    const by_handle ctx{8};
    doorbell::test::refuse(SYS_io_pgetevents, GetParam());
    EXPECT_EQ(ctx.result_of(read_of(2, memory[0])), block_size);
    doorbell::test::refuse(SYS_io_getevents, GetParam());
    EXPECT_EQ(ctx.result_of(read_of(1, memory[0])), block_size);
    EXPECT_EQ(memory[0][0], letter_of(1));
  });
}

INSTANTIATE_TEST_SUITE_P(errors, refused, testing::Values(EAGAIN, EPERM, ENOSYS, ENOMEM));

TEST_F(direct, a_child_has_a_context_of_its_own) {
  const by_handle parents{8};
  EXPECT_EQ(parents.result_of(read_of(0, memory[0])), block_size);
  {
    const by_handle kept_for_later{8};
    EXPECT_EQ(kept_for_later.result_of(read_of(0, memory[0])), block_size);
  }
  in_child([&] {
    refuse_threads();
    const by_handle own{8};
    EXPECT_EQ(own.result_of(read_of(2, memory[1])), block_size);
    EXPECT_EQ(memory[1][0], letter_of(2));
  });
  EXPECT_EQ(parents.result_of(read_of(4, memory[0])), block_size);
  EXPECT_EQ(memory[0][0], letter_of(4));
}

// Oracle: each request has one event, with its result, whichever thread gets it.
TEST_F(direct, each_request_of_many_threads_and_of_any_kind_has_one_event) {
  constexpr std::size_t threads = 4;
  constexpr int rounds = 200;
  const by_handle ctx{256};
  const auto zero = unique_fd{::open("/dev/zero", O_RDONLY | O_CLOEXEC)};
  std::atomic<int> got{0};
  doorbell::test::run_together(threads, [&](std::size_t me) {
    for (int round = 0; round < rounds; ++round) {
      std::array asked{read_of(me, memory[4 * me]), read_of(me + 8, memory[4 * me + 1]),
                       static_cast<aio::iocb_abi>(aio::prep_fdsync(file.get())),
                       static_cast<aio::iocb_abi>(aio::prep_pread(zero.get(), memory[4 * me + 2], 16, 0))};
      ASSERT_EQ(ctx.submit(asked), static_cast<int>(asked.size()));
      // The iocbs of this thread need not outlive their events, which another thread may get: only their addresses are
      // used.
      for (const auto& each : ctx.events(asked.size())) {
        EXPECT_TRUE(each.res == 0 || each.res == 16 || each.res == block_size) << each.res;
        ++got;
      }
    }
  });
  EXPECT_EQ(got.load(), static_cast<int>(threads * rounds * 4));
}

}  // namespace
