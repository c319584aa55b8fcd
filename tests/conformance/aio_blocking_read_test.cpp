// SPDX-License-Identifier: Apache-2.0
//
// DOORBELL_READS=block, for programs that use the buffer as soon as io_submit has returned. Oracle: the kernel's AIO,
// where io_submit completes a read through the page cache before it returns.
#include <doorbell/aio.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "aio_row.hpp"

namespace doorbell::test {
namespace {

// Set before main(), because the library reads the variable once.
[[maybe_unused]] const int is_set = ::setenv("DOORBELL_READS", "block", 1);

constexpr std::size_t block = 4096;
constexpr std::size_t file_blocks = 64;

/// @return the bytes of block `at` of the file.
std::string content(std::size_t at) {
  std::string bytes(block, static_cast<char>('0' + at));
  return bytes;
}

class aio_blocking_read : public aio_row {
 protected:
  aio_blocking_read() {
    std::string all;
    for (std::size_t at = 0; at < file_blocks; ++at) all += content(at);
    EXPECT_EQ(::pwrite(stored_.get(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
    EXPECT_EQ(::fsync(stored_.get()), 0);
    ::posix_fadvise(stored_.get(), 0, 0, POSIX_FADV_RANDOM);
  }

  void empty_cache() const { ::posix_fadvise(stored_.get(), 0, 0, POSIX_FADV_DONTNEED); }

  void expect_there(iocb_abi request, std::size_t at) {
    into_.assign(2 * block, ' ');
    ASSERT_EQ(submit(ctx_, request), 1);
    EXPECT_EQ(into_.substr(0, block), content(at));
    const auto events = events_there(ctx_);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].res, std::int64_t{block});
  }

  const base::unique_fd stored_ = temporary_file();
  const aio_context_t ctx_ = new_context();
  std::string into_ = std::string(2 * block, ' ');
};
ON_BOTH_SIDES(aio_blocking_read);

TEST_P(aio_blocking_read, of_an_uncached_block_completes_before_submit_returns) {
  for (std::size_t at = 0; at < file_blocks && !HasFailure(); ++at) {
    empty_cache();
    expect_there(aio::prep_pread(stored_.get(), into_.data(), block, static_cast<std::int64_t>(at * block)), at);
  }
}

TEST_P(aio_blocking_read, into_several_buffers_completes_before_submit_returns) {
  for (std::size_t at = 0; at < file_blocks && !HasFailure(); ++at) {
    empty_cache();
    std::array<iovec, 2> buffers{iovec{into_.data(), 100}, iovec{into_.data() + 100, block - 100}};
    expect_there(aio::prep_preadv(stored_.get(), buffers, static_cast<std::int64_t>(at * block)), at);
  }
}

TEST_P(aio_blocking_read, with_a_priority_completes_before_submit_returns) {
  for (std::size_t at = 0; at < file_blocks && !HasFailure(); ++at) {
    empty_cache();
    iocb_abi read = aio::prep_pread(stored_.get(), into_.data(), block, static_cast<std::int64_t>(at * block));
    read.flags = iocb_abi::flag_ioprio;
    read.reqprio = 3 << 13;  // idle
    expect_there(read, at);
  }
}

}  // namespace
}  // namespace doorbell::test
