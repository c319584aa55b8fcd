// SPDX-License-Identifier: Apache-2.0
//
// A loop that waits only for context::descriptor(), of a context whose completions the reaper's thread fetches, too,
// because some of its requests signal eventfds.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/eventfd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "../../aio/request/request_observer.hpp"
#include "../../aio/system/reaper_thread.hpp"
#include "support/blocks.hpp"
#include "support/by_engine.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::by_engine;
using doorbell::test::eventually;
using doorbell::test::readable;

/// Sleeps for about as long as the reaper takes to fetch a completion.
void let_the_reaper_fetch() { std::this_thread::sleep_for(1ms); }

/// Stops the reaper after it has fetched a completion, and before it puts the event into the context's ring.
class reaper_hold final : public aio::request_observer {
 public:
  reaper_hold() { set(*this); }
  void hold_at_next_completion() noexcept { state_ = state::armed; }
  [[nodiscard]] bool is_holding() const noexcept { return state_ == state::holding; }
  void release() noexcept {
    state_ = state::passive;
    state_.notify_all();
  }

  void taken(const aio::iocb_abi& /*what*/) noexcept override {}
  void given_back(const aio::iocb_abi& /*what*/) noexcept override {}
  void answered(const aio::iocb_abi& /*what*/, std::int64_t /*res*/, answered_by /*by*/,
                clock::duration /*after*/) noexcept override {
    auto expected = state::armed;
    if (!aio::reaper_thread::is_this_thread() || !state_.compare_exchange_strong(expected, state::holding)) return;
    state_.wait(state::holding);
  }

 private:
  enum class state : std::uint8_t { passive, armed, holding };
  std::atomic<state> state_{state::passive};
};

reaper_hold hold;  // exists before the first context, as request_observer requires

/// A context, and requests that wait for a pipe or transfer bytes of a file.
class descriptor_user {
 public:
  explicit descriptor_user(aio::engine_kind engine = aio::engine_kind::automatic) : ctx{64, engine} {}
  void submit(aio::iocb request) { ASSERT_EQ(ctx.submit({&request}), 1U); }
  [[nodiscard]] aio::iocb waiting_read() { return aio::prep_pread(pipe.read.get(), &letter, 1, 0); }
  [[nodiscard]] aio::iocb file_read() { return by_engine(aio::prep_pread(file.get(), &letter, 1, 0)); }
  [[nodiscard]] aio::iocb with_eventfd(aio::iocb request) {
    request.set_eventfd(efd);
    return request;
  }
  void complete_a_read() const { ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1); }
  /// From now on the reaper fetches completions of the context.
  void use_eventfd() {
    submit(with_eventfd(waiting_read()));
    complete_a_read();
    ASSERT_EQ(efd.read_for(20s), 1U);
  }
  [[nodiscard]] std::size_t fetch(std::size_t at_most = 64) {
    return ctx.get_events(0, std::span{events}.first(at_most)).size();
  }

  doorbell::test::pipe_ends pipe;
  doorbell::base::unique_fd file = doorbell::test::temporary_file("hello");
  doorbell::eventfd efd;
  aio::context ctx;
  char letter = 0;
  std::array<aio::io_event, 64> events{};
};

/// The program's loop.
class descriptor_loop {
 public:
  descriptor_loop(descriptor_user& whose, std::uint32_t trigger)
      : whose_{whose}, epoll_{::epoll_create1(EPOLL_CLOEXEC)} {
    epoll_event wanted{};
    wanted.events = EPOLLIN | trigger;
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, whose.ctx.descriptor(), &wanted), 0);
  }
  /// Fetches events whenever the epoll reports the descriptor, until there are `count` of them.
  /// @return the number of fetched events: less if the epoll reports nothing for some seconds.
  [[nodiscard]] std::size_t fetch(std::size_t count) {
    std::size_t got = 0;
    while (got < count && wait(10s)) got += fetched();
    return got;
  }
  /// @return how often the epoll reports the descriptor until it is silent for a while, or has reported it too often.
  [[nodiscard]] int reports_without_events(int at_most) {
    int reports = 0;
    for (; reports < at_most && wait(50ms); ++reports) EXPECT_EQ(fetched(), 0U);
    return reports;
  }

 private:
  [[nodiscard]] bool wait(std::chrono::milliseconds at_most) const {
    epoll_event ready{};
    int reports = -1;
    do reports = ::epoll_wait(epoll_.get(), &ready, 1, static_cast<int>(at_most.count()));
    while (reports < 0 && errno == EINTR);  // a completion in a ring interrupts the thread that has submitted
    return reports == 1;
  }
  [[nodiscard]] std::size_t fetched() {
    std::size_t got = 0;
    for (std::size_t some = 1; some > 0; got += some) some = whose_.fetch();
    return got;
  }

  descriptor_user& whose_;
  doorbell::base::unique_fd epoll_;
};

enum class first_eventfd { before_descriptor, after_descriptor };

struct row {
  const char* name;
  first_eventfd first;
  std::uint32_t trigger;
};

constexpr std::array rows{
    row{"eventfd_first_level", first_eventfd::before_descriptor, 0},
    row{"eventfd_first_edge", first_eventfd::before_descriptor, EPOLLET},
    row{"descriptor_first_level", first_eventfd::after_descriptor, 0},
    row{"descriptor_first_edge", first_eventfd::after_descriptor, EPOLLET},
};

class context_descriptor : public testing::TestWithParam<row> {
 protected:
  context_descriptor() {
    if (GetParam().first == first_eventfd::before_descriptor) use_eventfd();
    loop = std::make_unique<descriptor_loop>(user, GetParam().trigger);
    if (GetParam().first == first_eventfd::after_descriptor) use_eventfd();
  }
  void use_eventfd() {
    user.use_eventfd();
    EXPECT_EQ(user.fetch(), 1U);
  }

  descriptor_user user;
  std::unique_ptr<descriptor_loop> loop;
};

// Oracle: the loop gets the event of each request, also if the reaper fetches the completion while the loop is busy.
TEST_P(context_descriptor, announces_a_request_without_an_eventfd) {
  for (int round = 0; round < 200; ++round) {
    user.submit(user.waiting_read());
    user.complete_a_read();
    if (round % 4 == 0) let_the_reaper_fetch();
    ASSERT_EQ(loop->fetch(1), 1U) << "round " << round;
  }
}

// Oracle: the loop gets the events of all requests of a round, of which some signal an eventfd, and the eventfd has the
// counts.
TEST_P(context_descriptor, announces_requests_of_all_kinds) {
  constexpr std::size_t of_each = 4;
  for (int round = 0; round < 100; ++round) {
    for (std::size_t n = 0; n < of_each; ++n) {
      user.submit(user.waiting_read());
      user.submit(user.with_eventfd(user.waiting_read()));
      user.submit(user.file_read());
      user.submit(user.with_eventfd(user.file_read()));
      user.complete_a_read();
      user.complete_a_read();
    }
    if (round % 4 == 0) let_the_reaper_fetch();
    ASSERT_EQ(loop->fetch(4 * of_each), 4 * of_each) << "round " << round;
    std::uint64_t counts = 0;
    while (counts < 2 * of_each) {
      const auto some = user.efd.read_for(20s);
      ASSERT_GT(some, 0U) << "round " << round;
      counts += some;
    }
    ASSERT_EQ(counts, 2 * of_each);
  }
}

// Oracle: the loop, which has been told of the completion and has found no event, is told once more, and gets it.
TEST_P(context_descriptor, announces_an_event_that_the_reaper_adds_after_the_loop_has_looked) {
  hold.hold_at_next_completion();
  user.submit(user.waiting_read());
  user.complete_a_read();
  const bool is_held = eventually([] { return hold.is_holding(); });
  EXPECT_LE(loop->reports_without_events(100), 2);
  hold.release();
  ASSERT_TRUE(is_held);
  EXPECT_EQ(loop->fetch(1), 1U);
}

// Oracle: each request signals its eventfd within some seconds, and at the end the loop gets all events.
TEST_P(context_descriptor, announced_events_do_not_delay_eventfds_while_the_loop_is_busy) {
  constexpr std::size_t requests = 30;
  user.submit(user.waiting_read());
  user.complete_a_read();
  let_the_reaper_fetch();
  for (std::size_t n = 0; n < requests; ++n) user.submit(user.with_eventfd(user.waiting_read()));
  for (std::size_t n = 0; n < requests; ++n) {
    user.complete_a_read();
    ASSERT_EQ(user.efd.read_for(20s), 1U) << "request " << n;
  }
  EXPECT_EQ(loop->fetch(requests + 1), requests + 1);
}

// Oracle: after the last event has been fetched, the epoll reports the descriptor at most twice for each event: once
// for the completion, once because the reaper has fetched it.
TEST_P(context_descriptor, becomes_silent_after_the_last_event) {
  for (int round = 0; round < 10; ++round) {
    user.submit(user.waiting_read());
    user.complete_a_read();
    if (round % 2 == 0) let_the_reaper_fetch();
    ASSERT_EQ(loop->fetch(1), 1U);
    EXPECT_LE(loop->reports_without_events(100), 2) << "round " << round;
  }
}

// Oracle: the descriptor is readable as long as there are events, although each call fetches only one.
TEST_P(context_descriptor, is_readable_until_all_events_are_fetched) {
  constexpr std::size_t requests = 5;
  const int number = user.ctx.descriptor();
  for (std::size_t n = 0; n < requests; ++n) {
    user.submit(user.waiting_read());
    user.complete_a_read();
  }
  std::size_t got = 0;
  ASSERT_TRUE(eventually([&] {
    const bool is_there = readable(number);
    const auto some = is_there ? user.fetch(1) : 0;
    return (got += some) == requests;
  })) << got;
  EXPECT_LE(loop->reports_without_events(100), 2);
}

INSTANTIATE_TEST_SUITE_P(, context_descriptor, testing::ValuesIn(rows),
                         [](const auto& each) { return std::string{each.param.name}; });

// Oracle: the first call returns a readable descriptor, and the loop gets the event.
TEST(context_descriptor_of_a_used_context, announces_an_event_that_the_reaper_has_fetched_before_the_first_call) {
  descriptor_user user;
  user.use_eventfd();
  EXPECT_TRUE(eventually([&] { return readable(user.ctx.descriptor()); }));
  EXPECT_EQ(user.fetch(), 1U);
  EXPECT_TRUE(eventually([&] { return !readable(user.ctx.descriptor()); }));
}

// No request signals an eventfd, so the reaper fetches nothing. Oracle: the descriptor is still readable when submit()
// of another thread, which fetches the completions that are there, has returned.
TEST(context_descriptor_of_any_context, is_readable_after_another_thread_has_fetched_the_completion_in_submit) {
  descriptor_user user;
  const int number = user.ctx.descriptor();
  for (int round = 0; round < 10; ++round) {
    user.submit(user.waiting_read());
    user.complete_a_read();
    ASSERT_TRUE(eventually([&] { return readable(number); }));
    std::jthread{[&] { user.submit(user.waiting_read()); }}.join();
    EXPECT_TRUE(readable(number)) << "round " << round;
    EXPECT_EQ(user.fetch(), 1U);
    user.complete_a_read();
    EXPECT_TRUE(eventually([&] { return user.fetch() == 1; }));
  }
}

// Oracle: a call that began before the program had the descriptor fetches one of two events. Then the descriptor is
// readable, and the loop gets the other one.
TEST(context_descriptor_of_any_context, is_readable_after_a_call_that_began_before_has_fetched_a_part) {
  for (int round = 0; round < 20; ++round) {
    descriptor_user user;
    const auto poll = aio::prep_poll(user.pipe.read.get(), POLLIN);
    user.submit(poll);
    user.submit(poll);
    doorbell::test::sleeper asleep;
    std::jthread earlier{[&] {
      aio::io_event one{};
      asleep.here();
      EXPECT_EQ(user.ctx.get_events(1, {&one, 1}).size(), 1U);
    }};
    ASSERT_TRUE(asleep.wait_until_asleep());
    const int number = user.ctx.descriptor();
    user.complete_a_read();
    earlier.join();
    ASSERT_TRUE(eventually([&] { return readable(number); })) << "round " << round;
    EXPECT_EQ(user.fetch(), 1U);
    EXPECT_FALSE(readable(number));
  }
}

// Oracle: a call with a bad address, which fetches nothing, leaves the descriptor readable.
TEST(context_descriptor_of_a_used_context, is_readable_after_a_call_that_cannot_store_the_event) {
  descriptor_user user;
  user.use_eventfd();
  const int number = user.ctx.descriptor();
  ASSERT_TRUE(eventually([&] { return readable(number); }));
  EXPECT_EQ(aio::io_getevents(user.ctx.handle(), 1, 1, nullptr, nullptr), -EFAULT);
  EXPECT_TRUE(readable(number));
  EXPECT_EQ(user.fetch(), 1U);
}

// The ring announces its completions itself, so only the I/O threads are tested. Oracle: submit() announces no event of
// its own requests that are complete when it returns, and get_events() finds them.
TEST(context_descriptor_of_any_context, is_not_readable_for_requests_that_submit_has_completed) {
  descriptor_user user{aio::engine_kind::threads};
  const int number = user.ctx.descriptor();
  user.complete_a_read();
  user.submit(aio::prep_poll(user.pipe.read.get(), POLLIN));
  EXPECT_FALSE(readable(number));
  EXPECT_EQ(user.fetch(), 1U);
  EXPECT_FALSE(readable(number));
}

// Oracle: the descriptor announces a request of io_submit(), and nothing more after io_getevents() has fetched the
// event.
TEST(context_descriptor_of_any_context, announces_requests_of_calls_with_the_handle) {
  descriptor_user user;
  const int number = user.ctx.descriptor();
  descriptor_loop loop{user, 0};
  for (int round = 0; round < 10; ++round) {
    auto request = user.waiting_read();
    aio::iocb_abi* asked = &request;
    ASSERT_EQ(aio::io_submit(user.ctx.handle(), 1, &asked), 1);
    user.complete_a_read();
    ASSERT_TRUE(eventually([&] { return readable(number); })) << "round " << round;
    aio::io_event one{};
    ASSERT_EQ(aio::io_getevents(user.ctx.handle(), 1, 1, &one, nullptr), 1);
    EXPECT_LE(loop.reports_without_events(100), 2) << "round " << round;
  }
}

// The kernel's AIO carries out a direct read and signals nothing, because the program has fetched events by calls. Then
// the program asks for the descriptor. Oracle: in the quickest of a few rounds, it is readable long before the reaper's
// next round, if the read is complete. Each round waits longer for the read than the one before.
TEST(context_descriptor_of_any_context, announces_a_request_that_was_complete_before_the_first_call) {
  using doorbell::test::block;
  const auto file = doorbell::test::temporary_file(std::string(block, 'x'));
  const auto path = "/proc/self/fd/" + std::to_string(file.get());
  const doorbell::base::unique_fd direct{::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)};
  if (direct.get() < 0) GTEST_SKIP() << "no O_DIRECT here";
  const auto memory = doorbell::test::blocks_of(' ');
  constexpr auto soon = 500ms;
  auto shortest = std::chrono::steady_clock::duration::max();
  for (auto rest = 5ms; rest < 2s && shortest >= soon; rest *= 4) {
    descriptor_user user;
    timespec none{};
    ASSERT_EQ(aio::io_getevents(user.ctx.handle(), 0, 1, user.events.data(), &none), 0);
    auto request = aio::prep_pread(direct.get(), memory.get(), block, 0);
    aio::iocb_abi* asked = &request;
    ASSERT_EQ(aio::io_submit(user.ctx.handle(), 1, &asked), 1);
    std::this_thread::sleep_for(rest);  // nothing tells when the read is complete
    const auto began = std::chrono::steady_clock::now();
    const int number = user.ctx.descriptor();
    ASSERT_TRUE(eventually([&] { return readable(number); }));
    shortest = std::min(shortest, std::chrono::steady_clock::now() - began);
    EXPECT_EQ(user.fetch(), 1U);
  }
  EXPECT_LT(shortest, soon);
}

// Two threads complete requests of which some signal eventfds, while a third one runs the loop. Oracle: the loop gets
// the events of all requests.
TEST(context_descriptor_of_a_used_context, loses_no_event_while_the_reaper_and_the_loop_fetch_concurrently) {
  constexpr std::size_t requests = 4000;
  for (const std::uint32_t trigger : {std::uint32_t{0}, std::uint32_t{EPOLLET}}) {
    descriptor_user user;
    descriptor_loop loop{user, trigger};
    user.use_eventfd();
    EXPECT_EQ(loop.fetch(1), 1U);
    std::jthread completes{[&] {
      for (std::size_t n = 0; n < requests; ++n) {
        const auto read = user.waiting_read();
        auto request = n % 3 == 0 ? user.with_eventfd(read) : read;
        std::error_code ec;
        if (!eventually([&] { return user.ctx.submit({&request}, ec) == 1; })) return;
        user.complete_a_read();
        if (n % 16 == 0) std::this_thread::yield();
      }
    }};
    EXPECT_EQ(loop.fetch(requests), requests) << (trigger == 0 ? "level" : "edge");
  }
}

}  // namespace
