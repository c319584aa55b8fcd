// SPDX-License-Identifier: Apache-2.0
//
// Pairs of concurrent calls on one context.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <span>
#include <vector>

#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/race.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::budget;
using doorbell::test::race;
using doorbell::test::race_undisturbed;

/// Gets all of `events`, and continues after interruptions.
void get_all(aio::context& ctx, std::span<aio::io_event> events) {
  while (!events.empty()) {
    std::error_code ec;
    const auto got = ctx.get_events(events.size(), events, ec).size();
    ASSERT_TRUE(!ec || ec == std::errc::interrupted) << ec;
    events = events.subspan(got);
  }
}

std::vector<aio::io_event> get(aio::context& ctx, std::size_t count) {
  std::vector<aio::io_event> events(count);
  get_all(ctx, events);
  return events;
}

// Oracle: if threads destroy the same contexts in the same order, exactly one destroy of each context succeeds.
TEST(aio_race, concurrent_destroys_have_one_winner) {
  constexpr std::size_t racers = 2;
  constexpr std::size_t contexts = 16;
  std::array<aio::aio_context_t, contexts> handles{};
  std::array<std::atomic<int>, contexts> winners{};
  doorbell::test::meeting next{racers};
  std::array pass_some_time{doorbell::test::stagger{1}, doorbell::test::stagger{2}};
  race(
      racers, budget{1000},
      [&] {
        for (std::size_t n = 0; n < contexts; ++n) {
          handles[n] = 0;
          winners[n] = 0;
          ASSERT_EQ(aio::io_setup(4, &handles[n]), 0);
        }
      },
      [&](std::size_t me) {
        for (std::size_t n = 0; n < contexts; ++n) {
          next.arrive_and_wait();
          pass_some_time[me]();
          const int answer = aio::io_destroy(handles[n]);
          EXPECT_TRUE(answer == 0 || answer == -EINVAL) << answer;
          winners[n] += answer == 0;
        }
      },
      [&] {
        for (const auto& each : winners) EXPECT_EQ(each, 1);
      });
}

// Oracle: each context is destroyed once, by a thread that knows its handle from an earlier context at that address,
// even while its creator is still in io_setup. io_setup then returns, and accesses nothing of the context after the
// destroy.
TEST(aio_race, a_context_may_be_destroyed_before_its_setup_has_returned) {
  constexpr std::size_t each = 20;
  std::atomic<aio::aio_context_t> known{0};
  std::atomic<bool> making{false};
  std::atomic<std::size_t> destroyed{0};
  const auto make = [&] {
    for (std::size_t n = 0; n < each; ++n) {
      aio::aio_context_t handle = 0;
      ASSERT_EQ(aio::io_setup(4, &handle), 0);
      known.store(handle, std::memory_order_relaxed);
      while (aio::aio_nr() > 0) std::this_thread::yield();
    }
    making = false;
  };
  const auto destroy_by_guess = [&] {
    while (making) destroyed += aio::io_destroy(known.load(std::memory_order_relaxed)) == 0;
  };
  race(
      2, budget{100},
      [&] {
        making = true;
        destroyed = 0;
      },
      [&](std::size_t me) { me == 0 ? make() : destroy_by_guess(); }, [&] { EXPECT_EQ(destroyed, each); });
}

// Oracle: a setup that fails never publishes a handle that could be destroyed, and releases everything that it has
// charged or mapped.
TEST(aio_race, a_setup_that_fails_leaves_nothing_to_destroy) {
  constexpr std::size_t each = 50;
  aio::aio_context_t known = 0;
  ASSERT_EQ(aio::io_setup(4, &known), 0);
  ASSERT_EQ(aio::io_destroy(known), 0);
  const auto all_but_3 = static_cast<unsigned>(aio::aio_max_nr() - 3);
  aio::aio_context_t large = 0;
  if (aio::io_setup(all_but_3, &large) != 0) GTEST_SKIP() << "not enough memory for a context that exhausts the limit";
  std::atomic<bool> making{false};
  const auto make = [&] {
    aio::aio_context_t handle = 0;
    for (std::size_t n = 0; n < each; ++n) EXPECT_EQ(aio::io_setup(4, &handle), -EAGAIN);
    making = false;
  };
  const auto destroy_by_guess = [&] {
    while (making) {
      EXPECT_EQ(aio::io_destroy(known), -EINVAL);
    }
  };
  {
    const doorbell::test::nothing_left_behind check;
    race(
        2, budget{100}, [&] { making = true; }, [&](std::size_t me) { me == 0 ? make() : destroy_by_guess(); },
        [&] { EXPECT_EQ(aio::aio_nr(), all_but_3); });
  }
  EXPECT_EQ(aio::io_destroy(large), 0);
}

// Oracle: each request that submit has accepted before the destroy signals its eventfd, and reads nothing from the pipe
// later.
TEST(aio_race, a_request_submitted_before_destroy_is_cancelled_by_it) {
  constexpr std::size_t many = 60;
  const doorbell::test::pipe_ends pipe;
  const doorbell::eventfd efd{0, EFD_NONBLOCK};
  std::optional<aio::context> ctx;
  std::array<char, 8> text{};
  auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
  read.set_eventfd(efd);
  const std::vector<aio::iocb*> reads(many, &read);
  std::size_t taken = 0;
  race(
      2, budget{2000},
      [&] {
        ctx.emplace(8);
        taken = 0;
      },
      [&](std::size_t me) {
        std::error_code ec;
        if (me == 0)
          ctx->destroy(ec);
        else
          taken = ctx->submit(reads, ec);
      },
      [&] {
        std::error_code none;
        EXPECT_EQ(efd.read(none), taken);
        ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
        EXPECT_EQ(::read(pipe.read.get(), text.data(), 1), 1);
      });
}

// Oracle: a read that is cancelled while its byte arrives has one event; either the read has the byte, or the byte is
// still in the pipe.
TEST(aio_race, cancel_and_completion_make_one_event) {
  const doorbell::test::pipe_ends pipe;
  aio::context ctx{4};
  char byte = 0;
  auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
  race(
      2, budget{3000}, [&] { ASSERT_EQ(ctx.submit({&read}), 1U); },
      [&](std::size_t me) {
        std::error_code not_in_flight;
        if (me == 0)
          ctx.cancel(read, not_in_flight);
        else
          ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
      },
      [&] {
        const auto events = get(ctx, 1);
        ASSERT_EQ(events.size(), 1U);
        EXPECT_TRUE(events[0].res == 1 || events[0].res == -ECANCELED) << events[0].res;
        if (events[0].res == -ECANCELED) {
          ASSERT_EQ(::read(pipe.read.get(), &byte, 1), 1);
        }
        std::array<aio::io_event, 1> another{};
        EXPECT_TRUE(ctx.get_events(0, another).empty());
      });
}

// Oracle: every read has one event. The bytes read and the bytes left in the pipe are together the bytes written.
TEST(aio_race, bytes_are_read_once_whatever_is_cancelled) {
  constexpr std::size_t reads = 16;
  const doorbell::test::pipe_ends pipe;
  aio::context ctx{reads};
  std::array<char, reads> bytes{};
  std::vector<aio::iocb> requests;
  for (auto& byte : bytes) requests.push_back(aio::prep_pread(pipe.read.get(), &byte, 1, 0));
  race(
      3, budget{500},
      [&] {
        for (auto& request : requests) ASSERT_EQ(ctx.submit({&request}), 1U);
      },
      [&](std::size_t me) {
        std::error_code not_in_flight;
        for (std::size_t n = 0; n < reads / 2; ++n) {
          if (me == 2)
            ASSERT_EQ(::write(pipe.write.get(), "xx", 2), 2);
          else
            ctx.cancel(requests[2 * n + me], not_in_flight);
        }
      },
      [&] {
        const auto events = get(ctx, reads);
        ASSERT_EQ(events.size(), reads);
        const auto read = std::count_if(events.begin(), events.end(), [](const auto& event) { return event.res == 1; });
        std::array<char, 2 * reads> left{};
        ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);  // the read below does not wait if nothing else is left
        EXPECT_EQ(::read(pipe.read.get(), left.data(), left.size()) - 1, static_cast<std::ptrdiff_t>(reads) - read);
      });
}

// Oracle: the event is returned, by the waiting call or by the next one, whether the timeout or the byte comes first.
TEST(aio_race, an_event_that_comes_as_the_time_is_up_is_not_lost) {
  using clock = std::chrono::steady_clock;
  const doorbell::test::pipe_ends pipe;
  aio::context ctx{4};
  char byte = 0;
  auto read = aio::prep_pread(pipe.read.get(), &byte, 1, 0);
  doorbell::test::stagger random{1};
  std::array<aio::io_event, 1> events{};
  std::size_t in_time = 0;
  clock::time_point about_then;
  race_undisturbed(
      2, budget{3000},
      [&] {
        in_time = 0;
        about_then = clock::now() + std::chrono::microseconds{random.below(60)};
      },
      [&](std::size_t me) {
        if (me == 0) {
          ::prctl(PR_SET_TIMERSLACK, 1);  // nanoseconds: timeouts expire without delay
          std::error_code ec;
          do in_time = ctx.get_events(1, events, 20us, ec).size();
          while (ec);
          return;
        }
        // This thread submits, so that the kernel delivers the completion to it and not to the waiting thread.
        ASSERT_EQ(ctx.submit({&read}), 1U);
        while (clock::now() < about_then) {
        }
        ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
      },
      [&] {
        const auto later = get(ctx, 1 - in_time).size();
        EXPECT_EQ(in_time + later, 1U);
        std::array<aio::io_event, 1> another{};
        EXPECT_TRUE(ctx.get_events(0, another).empty());
      });
}

// Oracle: if another thread reaps a completion before submit has returned, submit may still access the request. Each
// request has one event, and cannot be cancelled after it.
TEST(aio_race, a_completion_may_come_before_submit_returns) {
  constexpr std::size_t writes = 32;
  const auto file = doorbell::test::temporary_file("hello");
  aio::context ctx{writes};
  // The requests are writes, because they share one buffer.
  std::vector<aio::iocb> requests(writes, aio::prep_pwrite(file.get(), "h", 1, 0));
  std::vector<aio::iocb*> pointers;
  for (auto& request : requests) pointers.push_back(&request);
  std::size_t got = 0;
  race(
      2, budget{2000}, [&] { got = 0; },
      [&](std::size_t me) {
        if (me == 0) {
          EXPECT_EQ(ctx.submit(pointers), writes);
          return;
        }
        std::array<aio::io_event, writes> events{};
        while (got < writes) got += ctx.get_events(0, events).size();
      },
      [&] {
        EXPECT_EQ(got, writes);
        for (auto& request : requests) {
          std::error_code ec;
          ctx.cancel(request, ec);
          EXPECT_EQ(ec, std::errc::invalid_argument);
        }
      });
}

// Oracle: there are as many events as the threads wait for, without a timeout, so all threads return. The eventfds make
// the process's reaper reap some completions for which a thread sleeps.
TEST(aio_race, no_thread_sleeps_for_an_event_that_another_has_reaped) {
  constexpr std::size_t waiters = 3;
  constexpr std::size_t each = 4;
  const doorbell::test::pipe_ends pipe;
  const doorbell::eventfd efd{0, EFD_NONBLOCK};
  aio::context ctx{waiters * each};
  std::array<char, 8> text{};
  std::vector<aio::iocb> reads(waiters * each, aio::prep_pread(pipe.read.get(), text.data(), 1, 0));
  for (std::size_t n = 0; n < reads.size(); n += 2) reads[n].set_eventfd(efd);
  race_undisturbed(
      waiters + 1, budget{1000},
      [&] {
        for (auto& read : reads) ASSERT_EQ(ctx.submit({&read}), 1U);
      },
      [&](std::size_t me) {
        if (me == waiters) {
          for (std::size_t n = 0; n < reads.size(); ++n) ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
          return;
        }
        std::array<aio::io_event, each> events{};
        get_all(ctx, events);
      },
      [&] {
        std::array<aio::io_event, 1> another{};
        EXPECT_TRUE(ctx.get_events(0, another).empty());
      });
}

// Oracle: when the thread that sleeps in the engine times out, another waiting thread takes its place: threads that
// wait without a timeout get the later events.
TEST(aio_race, a_leader_that_times_out_has_a_successor) {
  const doorbell::test::pipe_ends pipe;
  aio::context ctx{4};
  std::array<char, 8> text{};
  auto read = aio::prep_pread(pipe.read.get(), text.data(), 1, 0);
  std::atomic<bool> gave_up{false};
  std::array<aio::io_event, 2> first{};
  std::array<aio::io_event, 1> second{};
  race_undisturbed(
      3, budget{1000},
      [&] {
        gave_up = false;
        ASSERT_EQ(ctx.submit({&read, &read}), 2U);
      },
      [&](std::size_t me) {
        if (me == 0) {
          std::error_code interrupted;
          EXPECT_TRUE(ctx.get_events(2, first, 20us, interrupted).empty());
          gave_up = true;
        } else if (me == 1) {
          get_all(ctx, second);
        } else {
          while (!gave_up) std::this_thread::yield();
          ASSERT_EQ(::write(pipe.write.get(), "xx", 2), 2);
        }
      },
      [&] { EXPECT_EQ(get(ctx, 1)[0].res, 1); });
}

// Oracle: some threads wait with their own signal mask, others without one. Each gets one event, and all return.
TEST(aio_race, masked_and_other_waiters_all_wake) {
  constexpr std::size_t waiters = 4;
  const doorbell::test::pipe_ends pipe;
  aio::aio_context_t ctx = 0;
  ASSERT_EQ(aio::io_setup(8, &ctx), 0);
  std::array<char, 8> text{};
  auto read = aio::prep_pread(pipe.read.get(), text.data(), 1, 0);
  aio::iocb_abi* const asked = &read;
  std::array<int, waiters> answers{};
  sigset_t none;
  sigemptyset(&none);
  const aio::aio_sigset mask{.sigmask = &none, .sigsetsize = 8};
  race_undisturbed(
      waiters + 1, budget{1000},
      [&] {
        for (std::size_t n = 0; n < waiters; ++n) {
          auto* again = asked;
          ASSERT_EQ(aio::io_submit(ctx, 1, &again), 1);
        }
      },
      [&](std::size_t me) {
        aio::io_event event{};
        if (me == waiters)
          for (std::size_t n = 0; n < waiters; ++n) ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
        else
          do answers[me] = aio::io_pgetevents(ctx, 1, 1, &event, nullptr, me % 2 == 0 ? &mask : nullptr);
          while (answers[me] == -EINTR);
      },
      [&] { EXPECT_EQ(std::count(answers.begin(), answers.end(), 1), static_cast<std::ptrdiff_t>(waiters)); });
  EXPECT_EQ(aio::io_destroy(ctx), 0);
}

}  // namespace
