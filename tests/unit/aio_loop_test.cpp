// SPDX-License-Identifier: Apache-2.0
//
// The parts of a context that event loops use: its descriptor, files whose facts are looked up once, and inline reads.
#include <doorbell/aio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>
#include <tuple>
#include <vector>

#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

namespace aio = doorbell::aio;

bool is_readable(int fd, int milliseconds) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, milliseconds) == 1;
}

aio::file_facts facts_of(int fd) {
  std::error_code ec;
  const auto facts = aio::file_facts::look_up(fd, ec);
  EXPECT_FALSE(ec);
  return facts;
}

TEST(aio_loop, descriptor_is_readable_from_a_completion_until_its_event_is_fetched) {
  const doorbell::test::pipe_ends pipe;
  std::array<char, 8> text{};
  aio::context ctx{8};
  const int readable = ctx.descriptor();
  std::error_code ec;
  EXPECT_EQ(ctx.descriptor(ec), readable);
  EXPECT_FALSE(ec);
  auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
  ctx.submit({&read});
  EXPECT_FALSE(is_readable(readable, 0));
  ASSERT_EQ(::write(pipe.write.get(), "bell", 4), 4);
  ASSERT_TRUE(is_readable(readable, 20'000));
  std::array<aio::io_event, 8> events{};
  const auto got = ctx.get_events(0, events);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].res, 4);
  EXPECT_FALSE(is_readable(readable, 0));
}

TEST(aio_loop, descriptor_of_a_destroyed_context_is_refused) {
  aio::context ctx{8};
  ctx.destroy();
  std::error_code ec;
  EXPECT_EQ(ctx.descriptor(ec), -1);
  EXPECT_EQ(ec, std::errc::invalid_argument);
  try {
    FAIL() << ctx.descriptor();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::invalid_argument);
    EXPECT_TRUE(std::string_view{error.what()}.starts_with("doorbell: no descriptor for the context")) << error.what();
  }
}

// The kernel gives number 0 to the descriptor if no other number is free.
TEST(aio_loop, descriptor_may_have_the_number_0) {
  doorbell::test::in_child([] {
    const aio::context ctx{8};
    auto ec = std::make_error_code(std::errc::not_supported);
    int number = -1;
    {
      const doorbell::test::no_more_fds limit;
      ::close(0);
      number = ctx.descriptor(ec);
    }
    EXPECT_GE(number, 0);
    EXPECT_FALSE(ec) << ec.message();
  });
}

/// Submits reads of a file in the cache, and expects that each completes.
/// @return the number of events that were available when submit returned.
std::size_t read_known_file(aio::context& ctx) {
  const auto file = doorbell::test::temporary_file("0123456789abcdef");
  const auto facts = facts_of(file.get());
  std::array<char, 16> text{};
  std::vector<aio::iocb> reads;
  std::vector<aio::iocb*> asked;
  for (std::size_t i = 0; i < text.size(); ++i) {
    reads.push_back(aio::prep_pread(file.get(), &text[i], 1, static_cast<std::int64_t>(i)));
    reads.back().set_file(facts);
  }
  for (auto& each : reads) asked.push_back(&each);
  EXPECT_EQ(ctx.submit(asked), asked.size());
  std::array<aio::io_event, 16> events{};
  const auto there = ctx.get_events(0, events).size();
  const auto rest = std::span{events}.subspan(there);
  EXPECT_EQ(ctx.get_events(rest.size(), rest).size(), rest.size());
  for (const auto& event : events) EXPECT_EQ(event.res, 1);
  EXPECT_EQ(std::string_view(text.data(), text.size()), "0123456789abcdef");
  return there;
}

// Oracle: each read has its event and its byte, as read_known_file() expects, however many events are available when
// submit returns.
TEST(aio_loop, reads_of_a_known_file_all_complete) {
  aio::context ctx{16};
  std::ignore = read_known_file(ctx);
}

// submit() completes all of them inline, because the I/O threads would need a worker for each read.
TEST(aio_loop, reads_of_a_known_file_complete_inside_submit_with_threads) {
  aio::context ctx{16, aio::engine_kind::threads};
  EXPECT_EQ(read_known_file(ctx), 16U);
}

TEST(aio_loop, a_write_to_a_known_file_that_is_read_only_is_refused) {
  const auto file = doorbell::test::temporary_file("text");
  const doorbell::base::unique_fd read_only{::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDONLY)};
  const auto facts = facts_of(read_only.get());
  EXPECT_EQ(facts.access_mode, O_RDONLY);
  aio::context ctx{8};
  auto write = aio::prep_pwrite(read_only.get(), "x", 1, 0);
  write.set_file(facts);
  std::error_code ec;
  EXPECT_EQ(ctx.submit({&write}, ec), 0U);
  EXPECT_EQ(ec, std::errc::bad_file_descriptor);
}

TEST(aio_loop, facts_of_a_descriptor_that_is_not_open_for_io_are_refused) {
  std::error_code ec;
  const doorbell::base::unique_fd path{::open("/", O_PATH | O_CLOEXEC)};
  for (const int number : {-1, path.get()}) {
    EXPECT_EQ(aio::file_facts::look_up(number, ec).type, 0U);
    EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  }
}

// read_inline(): a read that does not wait and has no event.

TEST(aio_read_inline, of_a_file_in_memory_returns_its_bytes_and_takes_no_slot) {
  if (!doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  const auto file = doorbell::test::temporary_file_in(doorbell::test::memory_folder, "bell");
  std::array<char, 8> text{};
  std::array<aio::io_event, 1> events{};
  aio::context ctx{1};
  auto read = aio::prep_pread(file.get(), text.data(), text.size(), 1);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(ctx.read_inline(read), 3);
  EXPECT_EQ(std::string_view(text.data(), 3), "ell");
  EXPECT_TRUE(ctx.get_events(0, events).empty());
  read = aio::prep_pread(file.get(), text.data(), text.size(), 4);
  EXPECT_EQ(ctx.read_inline(read), 0) << "at the end of the file";
  read = aio::prep_pread(file.get(), nullptr, 1, 0);
  EXPECT_EQ(ctx.read_inline(read), -EFAULT);
}

TEST(aio_read_inline, of_a_request_that_would_wait_or_is_no_read_has_no_effect) {
  if (!doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  const doorbell::test::pipe_ends pipe;
  const auto file = doorbell::test::temporary_file_in(doorbell::test::memory_folder, "bell");
  char letter = 'x';
  aio::context ctx{8};
  auto asked = aio::prep_pread(pipe.read.get(), &letter, 1, 0);
  EXPECT_EQ(ctx.read_inline(asked), std::nullopt);
  asked = aio::prep_pwrite(file.get(), &letter, 1, 0);
  EXPECT_EQ(ctx.read_inline(asked), std::nullopt);
  char first = 0;
  EXPECT_EQ(::pread(file.get(), &first, 1, 0), 1);
  EXPECT_EQ(first, 'b');
  asked = aio::prep_pread(file.get(), &letter, 1, 0);
  ctx.destroy();
  EXPECT_EQ(ctx.read_inline(asked), std::nullopt);
  EXPECT_EQ(letter, 'x');
}

}  // namespace
