// SPDX-License-Identifier: Apache-2.0
//
// Pipes, sockets, terminals and eventfds on engine_threads: requests wait without a worker, and a request that loses a
// race for data or room waits again. The tests that use then_and_now() run on this kernel, and again as on kernels
// before 6.4, where these files do not support RWF_NOWAIT.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "support/child.hpp"
#include "support/files.hpp"
#include "support/race.hpp"
#include "support/refused_calls.hpp"

namespace {

using namespace std::chrono_literals;
using doorbell::base::unique_fd;
using doorbell::test::budget;
namespace aio = doorbell::aio;

struct stream {
  unique_fd read;
  unique_fd write;
  std::string message;  // one message, which one write sends and one read gets

  void send() const {
    ASSERT_EQ(::write(write.get(), message.data(), message.size()), static_cast<ssize_t>(message.size()));
  }
};

void check(int answer, const char* what) {
  if (answer != 0) throw std::system_error{errno, std::system_category(), what};
}

stream pipe_stream() {
  doorbell::test::pipe_ends ends;
  return {std::move(ends.read), std::move(ends.write), "x"};
}

stream socket_stream() {
  std::array<int, 2> ends{};
  check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
  return {unique_fd{ends[0]}, unique_fd{ends[1]}, "x"};
}

stream terminal_stream() {
  int master = -1;
  int slave = -1;
  check(::openpty(&master, &slave, nullptr, nullptr, nullptr), "openpty");
  return {unique_fd{slave}, unique_fd{master}, "x\n"};
}

stream master_stream() {
  auto ends = terminal_stream();
  return {std::move(ends.write), std::move(ends.read), "x"};
}

stream eventfd_stream() {
  unique_fd one{::eventfd(0, EFD_CLOEXEC)};
  unique_fd other{::dup(one.get())};
  return {std::move(one), std::move(other), std::string{"\1\0\0\0\0\0\0\0", 8}};
}

struct kind_of_stream {
  std::string_view name;
  stream (*make)();

  friend std::ostream& operator<<(std::ostream& out, const kind_of_stream& kind) { return out << kind.name; }
};

class streams_by_threads : public testing::TestWithParam<kind_of_stream> {
 protected:
  static stream make() { return GetParam().make(); }

  // Runs `body`, and runs it in a child whose kernel appears older. The child comes first, while there are no other
  // threads.
  static void then_and_now(const std::function<void()>& body) {
    if (doorbell::test::can_refuse()) {
      SCOPED_TRACE("before 6.4");
      doorbell::test::in_child([&] {
        doorbell::test::refuse(SYS_preadv2, EOPNOTSUPP, 5, RWF_NOWAIT);
        doorbell::test::refuse(SYS_pwritev2, EOPNOTSUPP, 5, RWF_NOWAIT);
        body();
      });
    }
    body();
  }
};

/// A context, and functions that get its events.
class asked {
 public:
  aio::context ctx{64, aio::engine_kind::threads};

  aio::io_event get_one() {
    std::array<aio::io_event, 1> events{};
    std::error_code ec;
    std::size_t got = 0;
    do got = ctx.get_events(1, events, 20s, ec).size();
    while (ec == std::errc::interrupted);
    EXPECT_EQ(got, 1U) << ec;
    return events[0];
  }
  std::size_t there() {
    std::array<aio::io_event, 64> events{};
    return ctx.get_events(0, events).size();
  }
};

TEST_P(streams_by_threads, a_read_waits_for_a_later_write) {
  then_and_now([] {
    const auto ends = make();
    std::array<char, 64> text{};
    asked one;
    auto read = aio::prep_pread(ends.read.get(), text.data(), text.size(), 0);
    one.ctx.submit({&read});
    EXPECT_EQ(one.there(), 0U);
    ends.send();
    EXPECT_EQ(one.get_one().res, static_cast<std::int64_t>(ends.message.size()));
    EXPECT_EQ((std::string_view{text.data(), ends.message.size()}), ends.message);
  });
}

TEST_P(streams_by_threads, a_read_of_present_data_completes) {
  then_and_now([] {
    const auto ends = make();
    ends.send();
    std::array<char, 64> text{};
    asked one;
    auto read = aio::prep_pread(ends.read.get(), text.data(), text.size(), 0);
    one.ctx.submit({&read});
    EXPECT_EQ(one.get_one().res, static_cast<std::int64_t>(ends.message.size()));
  });
}

// Oracle: each message goes to one read; the other reads wait for the next message, and can be cancelled.
TEST_P(streams_by_threads, each_message_goes_to_one_of_several_reads) {
  then_and_now([] {
    const auto ends = make();
    std::array<std::array<char, 8>, 4> texts{};
    std::vector<aio::iocb> reads;
    reads.reserve(texts.size());
    for (auto& text : texts) reads.push_back(aio::prep_pread(ends.read.get(), text.data(), text.size(), 0));
    asked all;
    for (auto& read : reads) all.ctx.submit({&read});
    for (int n = 0; n < 2; ++n) {
      ends.send();
      EXPECT_EQ(all.get_one().res, static_cast<std::int64_t>(ends.message.size()));
    }
    EXPECT_EQ(all.there(), 0U);
    std::error_code not_in_flight;
    for (auto& read : reads) all.ctx.cancel(read, not_in_flight);
    for (int n = 0; n < 2; ++n) EXPECT_EQ(all.get_one().res, -ECANCELED);
  });
}

TEST_P(streams_by_threads, waiting_reads_occupy_no_worker) {
  then_and_now([] {
    const auto ends = make();
    const auto file = doorbell::test::temporary_file("hello");
    std::array<char, 8> text{};
    std::vector<aio::iocb> reads(40, aio::prep_pread(ends.read.get(), text.data(), text.size(), 0));
    asked all;
    for (auto& read : reads) all.ctx.submit({&read});
    std::array<char, 8> other{};
    auto quick = aio::prep_pread(file.get(), other.data(), other.size(), 0);
    all.ctx.submit({&quick});
    const auto event = all.get_one();
    EXPECT_EQ(event.obj, &quick);
    EXPECT_EQ(event.res, 5);
  });
}

TEST_P(streams_by_threads, closing_the_descriptor_does_not_affect_a_waiting_read) {
  then_and_now([] {
    auto ends = make();
    std::array<char, 64> text{};
    asked one;
    auto read = aio::prep_pread(ends.read.get(), text.data(), text.size(), 0);
    one.ctx.submit({&read});
    ends.read.reset();
    ends.send();
    EXPECT_EQ(one.get_one().res, static_cast<std::int64_t>(ends.message.size()));
  });
}

TEST_P(streams_by_threads, a_read_of_a_nonblocking_descriptor_does_not_wait) {
  then_and_now([] {
    const auto ends = make();
    std::array<char, 64> text{};
    asked one;
    ASSERT_EQ(::fcntl(ends.read.get(), F_SETFL, O_RDWR | O_NONBLOCK), 0);
    auto read = aio::prep_pread(ends.read.get(), text.data(), text.size(), 0);
    one.ctx.submit({&read});
    EXPECT_EQ(one.get_one().res, -EAGAIN);
  });
}

// Oracle: when the program has closed the descriptor, the other end reports that there is no reader: no thread holds
// the file.
TEST_P(streams_by_threads, the_file_is_closed_with_its_last_request) {
  if (GetParam().name == "eventfd") GTEST_SKIP() << "an eventfd does not report whether another descriptor is open";
  then_and_now([] {
    auto ends = make();
    std::array<char, 64> text{};
    asked one;
    for (const bool is_cancelled : {false, true}) {
      auto read = aio::prep_pread(ends.read.get(), text.data(), text.size(), 0);
      one.ctx.submit({&read});
      EXPECT_EQ(one.there(), 0U);
      if (is_cancelled)
        one.ctx.cancel(read);
      else
        ends.send();
      EXPECT_EQ(one.get_one().res, is_cancelled ? -ECANCELED : static_cast<std::int64_t>(ends.message.size()));
    }
    one.ctx.destroy();
    ends.read.reset();
    pollfd writer{.fd = ends.write.get(), .events = 0, .revents = 0};
    EXPECT_EQ(::poll(&writer, 1, 10'000), 1);
    EXPECT_NE(writer.revents & (POLLERR | POLLHUP), 0);
  });
}

INSTANTIATE_TEST_SUITE_P(kinds, streams_by_threads,
                         testing::Values(kind_of_stream{"pipe", pipe_stream}, kind_of_stream{"socket", socket_stream},
                                         kind_of_stream{"terminal", terminal_stream},
                                         kind_of_stream{"terminal_master", master_stream},
                                         kind_of_stream{"eventfd", eventfd_stream}),
                         [](const auto& each) { return std::string{each.param.name}; });

class writes_by_threads : public streams_by_threads {};

// Fills the stream until it has no room. @return the number of bytes.
std::size_t fill(const stream& ends) {
  EXPECT_EQ(::fcntl(ends.write.get(), F_SETFL, O_NONBLOCK), 0);
  std::size_t filled = 0;
  for (const std::string much(1 << 16, '.');;) {
    const auto some = ::write(ends.write.get(), much.data(), much.size());
    if (some < 0) break;
    filled += static_cast<std::size_t>(some);
  }
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(::fcntl(ends.write.get(), F_SETFL, 0), 0);
  return filled;
}

std::string taken_from(const stream& ends, std::size_t bytes) {
  std::string text(bytes, 0);
  for (std::size_t taken = 0; taken < bytes;) {
    const auto some = ::read(ends.read.get(), text.data() + taken, bytes - taken);
    if (some <= 0) break;
    taken += static_cast<std::size_t>(some);
  }
  return text;
}

TEST_P(writes_by_threads, a_write_waits_for_room) {
  then_and_now([] {
    const auto ends = make();
    const auto filled = fill(ends);
    asked one;
    auto write = aio::prep_pwrite(ends.write.get(), "late", 4, 0);
    one.ctx.submit({&write});
    EXPECT_EQ(one.there(), 0U);
    EXPECT_EQ(taken_from(ends, filled + 4).substr(filled), "late");
    EXPECT_EQ(one.get_one().res, 4);
  });
}

TEST_P(writes_by_threads, writes_with_room_keep_their_order) {
  const auto ends = make();
  asked all;
  auto first = aio::prep_pwrite(ends.write.get(), "one ", 4, 0);
  auto second = aio::prep_pwrite(ends.write.get(), "two ", 4, 0);
  auto third = aio::prep_pwrite(ends.write.get(), "three", 5, 0);
  all.ctx.submit({&first, &second, &third});
  for (int n = 0; n < 3; ++n) all.get_one();
  std::array<char, 16> text{};
  ASSERT_EQ(::read(ends.read.get(), text.data(), text.size()), 13);
  EXPECT_EQ((std::string_view{text.data(), 13}), "one two three");
}

INSTANTIATE_TEST_SUITE_P(kinds, writes_by_threads,
                         testing::Values(kind_of_stream{"pipe", pipe_stream}, kind_of_stream{"socket", socket_stream}),
                         [](const auto& each) { return std::string{each.param.name}; });

TEST(sockets_by_threads, have_no_position) {
  const auto ends = socket_stream();
  ends.send();
  std::array<char, 8> text{};
  asked one;
  auto read = aio::prep_pread(ends.read.get(), text.data(), text.size(), 7);
  one.ctx.submit({&read});
  EXPECT_EQ(one.get_one().res, -ESPIPE);
}

TEST(devices_by_threads, always_ready_are_read_without_waiting) {
  const unique_fd zero{::open("/dev/zero", O_RDONLY | O_CLOEXEC)};
  std::array<char, 8> text{};
  asked one;
  auto read = aio::prep_pread(zero.get(), text.data(), text.size(), 0);
  one.ctx.submit({&read});
  EXPECT_EQ(one.get_one().res, 8);
}

TEST(polls_by_threads, of_files_that_are_always_ready_return_the_requested_events) {
  const auto file = doorbell::test::temporary_file("hello");
  asked one;
  for (const auto events : {POLLIN, POLLOUT, POLLIN | POLLOUT, POLLRDNORM | POLLWRNORM}) {
    auto poll = aio::prep_poll(file.get(), static_cast<std::uint16_t>(events));
    one.ctx.submit({&poll});
    EXPECT_EQ(one.get_one().res, events);
  }
}

TEST(polls_by_threads, several_of_one_file_all_complete) {
  const auto ends = pipe_stream();
  asked all;
  std::vector<aio::iocb> polls(5, aio::prep_poll(ends.read.get(), POLLIN));
  for (auto& poll : polls) all.ctx.submit({&poll});
  ends.send();
  for (std::size_t n = 0; n < polls.size(); ++n) EXPECT_EQ(all.get_one().res, POLLIN);
  EXPECT_EQ(all.there(), 0U);
}

// Oracle: a poll completes, whether its file becomes ready before, while or after it is submitted.
TEST(polls_by_threads, of_a_file_that_becomes_ready_concurrently_complete) {
  const auto ends = pipe_stream();
  asked one;
  auto poll = aio::prep_poll(ends.read.get(), POLLIN);
  doorbell::test::race(
      2, budget{20'000}, [] {},
      [&](std::size_t index) {
        if (index == 0)
          EXPECT_EQ(one.ctx.submit({&poll}), 1U);
        else
          ends.send();
      },
      [&] {
        EXPECT_EQ(one.get_one().res, POLLIN);
        std::array<char, 1> taken{};
        EXPECT_EQ(::read(ends.read.get(), taken.data(), taken.size()), 1);
      });
}

// Oracle: each poll of a file that is already ready completes, although no further event occurs on the file.
TEST(polls_by_threads, of_a_file_that_is_already_ready_complete_immediately) {
  const auto ends = pipe_stream();
  ends.send();
  asked one;
  std::vector<aio::iocb> polls(32, aio::prep_poll(ends.read.get(), POLLIN));
  std::vector<aio::iocb*> pointers;
  for (auto& poll : polls) pointers.push_back(&poll);
  doorbell::test::run_disturbed(1, [&](std::size_t) {
    for (budget rounds{20'000}; rounds.next();) {
      EXPECT_EQ(one.ctx.submit(pointers), polls.size());
      for (std::size_t n = 0; n < polls.size(); ++n) EXPECT_EQ(one.get_one().res, POLLIN);
    }
  });
}

}  // namespace
