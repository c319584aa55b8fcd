// SPDX-License-Identifier: Apache-2.0
//
// The memory of a context's requests: the pool has as many pieces as it was made for, each with one owner at a time.
#include "../../aio/request/request_pool.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "support/sanitizer.hpp"

namespace {

using doorbell::aio::request_pool;

constexpr std::size_t most = 100;
constexpr std::size_t bytes = 192;

class request_pool_of : public testing::Test {
 protected:
  void SetUp() override {
    if (doorbell::test::sanitized && !doorbell::test::thread_sanitized)
      GTEST_SKIP() << "each request is allocated by itself, so that the sanitizer sees it";
    pool_.emplace();
    pool_->set_size(most, bytes);
  }
  std::vector<void*> take(std::size_t count) {
    std::vector<void*> memory(count);
    memory.resize(pool_->take(memory));
    return memory;
  }

  std::optional<request_pool> pool_;
};

// Oracle: the bytes written to one piece do not appear in another.
TEST_F(request_pool_of, n_requests_has_n_pieces) {
  const auto memory = take(most + 10);
  ASSERT_EQ(memory.size(), most);
  EXPECT_TRUE(take(1).empty());
  for (std::size_t at = 0; at < most; ++at) std::memset(memory[at], static_cast<int>(at), bytes);
  for (std::size_t at = 0; at < most; ++at)
    for (std::size_t byte = 0; byte < bytes; ++byte) ASSERT_EQ(static_cast<const unsigned char*>(memory[at])[byte], at);
}

TEST_F(request_pool_of, returned_pieces_are_handed_out_again) {
  auto memory = take(most);
  std::set<void*> all{memory.begin(), memory.end()};
  for (int round = 0; round < 10; ++round) {
    pool_->give_back(std::span{memory}.first(30));
    pool_->give_back({});
    const auto again = take(40);
    ASSERT_EQ(again.size(), 30U);
    EXPECT_EQ((std::set<void*>{again.begin(), again.end()}), (std::set<void*>{memory.begin(), memory.begin() + 30}));
    std::ranges::copy(again, memory.begin());
    std::ranges::rotate(memory, memory.begin() + 7);
  }
  EXPECT_EQ((std::set<void*>{memory.begin(), memory.end()}), all);
}

TEST_F(request_pool_of, its_memory_is_unmapped_with_it) {
  const auto memory = take(most);
  ASSERT_EQ(memory.size(), most);
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  std::set<std::uintptr_t> pages;
  for (void* each : memory) pages.insert(reinterpret_cast<std::uintptr_t>(each) / page * page);
  pool_.reset();
  unsigned char resident = 0;
  for (const auto each : pages) {
    errno = 0;
    const int answer = ::mincore(reinterpret_cast<void*>(each), page, &resident);
    EXPECT_TRUE(answer == -1 && errno == ENOMEM) << each << ": " << answer << ", " << errno;
  }
}

}  // namespace
