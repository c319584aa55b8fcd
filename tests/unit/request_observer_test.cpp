// SPDX-License-Identifier: Apache-2.0
//
// A request_observer is called twice for each request: when submit takes the request, and when the request has been
// answered, with its result and the carrier that answered it.
#include "../../aio/request/request_observer.hpp"

#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../../aio/engine/engine_names.hpp"
#include "direct_transfers.hpp"
#include "support/by_engine.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using answered_by = aio::request_observer::answered_by;
using doorbell::test::block_size;
using doorbell::test::by_handle;

/// Records the calls, by the data of the request.
class record final : public aio::request_observer {
 public:
  struct told {
    int taken = 0;
    int given_back = 0;
    int answered = 0;
    std::int64_t res = 0;
    answered_by carrier = answered_by::submit;
    clock::duration after{-1};
  };

  void taken(const aio::iocb_abi& what) noexcept override {
    const std::lock_guard held{lock_};
    ++of_[what.data].taken;
  }
  void given_back(const aio::iocb_abi& what) noexcept override {
    const std::lock_guard held{lock_};
    ++of_[what.data].given_back;
  }
  void answered(const aio::iocb_abi& what, std::int64_t res, answered_by carrier,
                clock::duration after) noexcept override {
    const std::lock_guard held{lock_};
    auto& mine = of_[what.data];
    ++mine.answered;
    mine.res = res;
    mine.carrier = carrier;
    mine.after = after;
  }
  void forget() {
    const std::lock_guard held{lock_};
    of_.clear();
  }
  [[nodiscard]] told of(const void* data) {
    const std::lock_guard held{lock_};
    return of_[data];
  }

 private:
  std::mutex lock_;
  std::map<const void*, told> of_;
};

/// The carriers of a read by the engine that the test runs with.
std::vector<answered_by> of_engine() {
  const char* const name = std::getenv("DOORBELL_ENGINE");
  switch (aio::engine_named(name != nullptr ? name : "").value_or(aio::engine_kind::automatic)) {
    case aio::engine_kind::automatic:
    case aio::engine_kind::io_uring:
      return {answered_by::threads, answered_by::io_uring};
    case aio::engine_kind::threads:
      return {answered_by::threads};
  }
  return {};
}

std::string line_of(const char* path) {
  std::string line;
  std::ifstream file{path};
  std::getline(file, line);
  return line;
}

class request_observer : public doorbell::test::direct {
 protected:
  request_observer() {
    told_.forget();
    aio::request_observer::set(told_);
  }

  /// Submits the request, and expects the calls for it.
  /// @param carriers the expected carrier; more than one: any of them.
  void expect_answered(aio::iocb_abi asked, std::int64_t res, const std::vector<answered_by>& carriers) {
    names_.push_back(std::make_unique<char>());
    asked.data = names_.back().get();
    EXPECT_EQ(ctx_.result_of(asked), res);
    const auto told = told_.of(asked.data);
    EXPECT_EQ(told.taken, 1);
    EXPECT_EQ(told.given_back, 0);
    EXPECT_EQ(told.answered, 1);
    EXPECT_EQ(told.res, res);
    EXPECT_NE(std::ranges::find(carriers, told.carrier), carriers.end()) << static_cast<int>(told.carrier);
    EXPECT_GE(told.after, 0s);
    EXPECT_LT(told.after, 20s);
  }
  void expect_refused(aio::iocb_abi asked) {
    names_.push_back(std::make_unique<char>());
    asked.data = names_.back().get();
    EXPECT_LT(ctx_.submit({&asked, 1}), 0);
    const auto told = told_.of(asked.data);
    EXPECT_EQ(told.taken, told.given_back);
    EXPECT_EQ(told.answered, 0);
  }

  static inline record told_;
  std::vector<std::unique_ptr<char>> names_;
  by_handle ctx_{64};
};

TEST_F(request_observer, is_called_for_requests_that_submit_or_the_io_threads_have_answered) {
  const auto cached = doorbell::test::temporary_file("hello");
  const doorbell::test::pipe_ends pipe;
  std::array<char, 8> text{};
  expect_answered(aio::prep_pread(cached.get(), text.data(), 5, 0), 5, {answered_by::submit});
  expect_answered(aio::prep_pwrite(cached.get(), text.data(), 5, 0), 5, {answered_by::submit});
  expect_answered(doorbell::test::by_engine(aio::prep_pread(cached.get(), text.data(), 5, 0)), 5, of_engine());
  expect_answered(aio::prep_fsync(cached.get()), 0, {answered_by::threads});
  expect_answered(aio::prep_poll(pipe.write.get(), POLLOUT), POLLOUT, {answered_by::threads});
  expect_refused(aio::prep_fsync(-1));
}

// Oracle: the kernel's AIO has answered each of these requests. It has refused none, so none went to a thread.
TEST_F(request_observer, is_called_for_requests_that_the_kernels_aio_has_answered) {
  const auto efd = doorbell::test::kernel_eventfd();
  const std::vector by_kernel{answered_by::kernel_aio};
  // The later rounds also test a program of which the library knows that it gets its events by calls. Every second read
  // signals an eventfd.
  for (int round = 0; round < 100; ++round) {
    aio::iocb_abi read = read_of(3, memory[0]);
    if (round % 2 == 0) {
      read.flags |= aio::iocb_abi::flag_resfd;
      read.resfd = static_cast<std::uint32_t>(efd.get());
    }
    expect_answered(read, block_size, by_kernel);
    expect_answered(aio::prep_pwrite(file.get(), memory[0], block_size, 5 * block_size), block_size, by_kernel);
    const std::array parts{iovec{.iov_base = memory[2], .iov_len = block_size}};
    expect_answered(aio::prep_preadv(file.get(), parts, 6 * block_size), block_size, by_kernel);
    ASSERT_FALSE(HasFailure()) << "/proc/sys/fs/aio-nr: " << line_of("/proc/sys/fs/aio-nr")
                               << ", aio-max-nr: " << line_of("/proc/sys/fs/aio-max-nr");
  }
}

TEST_F(request_observer, is_called_for_a_read_that_read_inline_has_answered) {
  const auto cached = doorbell::test::temporary_file("hello");
  std::array<char, 8> text{};
  char name = 0;
  aio::iocb read = aio::prep_pread(cached.get(), text.data(), 5, 0);
  read.data = &name;
  aio::context ctx{8};
  std::array<aio::io_event, 1> events{};
  ASSERT_EQ(ctx.submit({&read}), 1U);  // the context learns that the file is cached
  ASSERT_EQ(ctx.get_events(1, events).size(), 1U);
  told_.forget();
  ASSERT_EQ(ctx.read_inline(read), 5);
  const auto told = told_.of(&name);
  EXPECT_EQ(told.taken, 1);
  EXPECT_EQ(told.answered, 1);
  EXPECT_EQ(told.res, 5);
  EXPECT_EQ(told.carrier, answered_by::submit);
}

}  // namespace
