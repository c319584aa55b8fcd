// SPDX-License-Identifier: Apache-2.0
//
// Threads create, use and destroy contexts concurrently, by handle: 1,000 rounds of 4 threads.
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <vector>

#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/race.hpp"

namespace {

namespace aio = doorbell::aio;
using doorbell::test::budget;

constexpr std::size_t threads = 4;
constexpr std::size_t places = 3;
constexpr std::size_t steps = 12;
constexpr long batch = 6;

/// Shared by the threads. They use each other's contexts by handles, which may have been destroyed, and even reused.
class playground {
 public:
  playground() {
    warm_up();
    before_ = doorbell::test::inventory::now();
  }

  void run(std::size_t me) {
    doorbell::test::stagger random{++runs_ * threads + me};
    for (std::size_t step = 0; step < steps; ++step) {
      auto& place = handles_[random.below(places)];
      switch (random.below(8)) {
        case 0:
        case 1:
          set_up(place);
          break;
        case 2:
        case 3:
        case 4:
          submit(place, me);
          break;
        case 5:
          get(place);
          break;
        case 6:
          cancel(place, me, random.below(batch));
          break;
        default:
          destroy(place);
      }
    }
  }

  /// Called by one thread after a round: destroys the round's contexts, and checks that nothing of them remains.
  void check() {
    for (auto& place : handles_) destroy(place);
    EXPECT_EQ(destroyed_, made_);
    EXPECT_EQ(aio::aio_nr(), 0U);
    EXPECT_EQ(doorbell::test::take(efd_.get()), signals_.exchange(0));
  }

  [[nodiscard]] const doorbell::test::inventory& before() const { return before_; }

 private:
  /// Starts the reaper, so that the inventory counts its thread and descriptors.
  void warm_up() {
    set_up(handles_[0]);
    submit(handles_[0], 0);
    while (!doorbell::test::readable(efd_.get())) std::this_thread::yield();
    check();
  }

  void set_up(std::atomic<aio::aio_context_t>& place) {
    aio::aio_context_t handle = 0;
    ASSERT_EQ(aio::io_setup(8, &handle), 0);
    ++made_;
    if (const auto other = place.exchange(handle)) destroyed_ += aio::io_destroy(other) == 0;
  }

  // The handle stays in its place: other threads continue to use it, and may destroy it as well.
  void destroy(const std::atomic<aio::aio_context_t>& place) {
    const int answer = aio::io_destroy(place);
    EXPECT_TRUE(answer == 0 || answer == -EINVAL) << answer;
    destroyed_ += answer == 0;
  }

  void submit(const std::atomic<aio::aio_context_t>& place, std::size_t me) {
    std::array<aio::iocb_abi*, batch> pointers{};
    for (std::size_t n = 0; n < batch; ++n) pointers[n] = &requests_[me][n];
    const int taken = aio::io_submit(place, batch, pointers.data());
    EXPECT_TRUE(taken >= 0 || taken == -EINVAL || taken == -EAGAIN) << taken;
    for (int n = 0; n < taken; ++n)
      signals_ += (requests_[me][static_cast<std::size_t>(n)].flags & aio::iocb_abi::flag_resfd) != 0;
  }

  static void get(const std::atomic<aio::aio_context_t>& place) {
    std::array<aio::io_event, 4> events{};
    timespec a_moment{.tv_sec = 0, .tv_nsec = 50'000};
    const int got = aio::io_getevents(place, 2, events.size(), events.data(), &a_moment);
    EXPECT_TRUE(got >= 0 || got == -EINVAL || got == -EINTR) << got;
  }

  void cancel(const std::atomic<aio::aio_context_t>& place, std::size_t me, std::size_t which) {
    const int answer = aio::io_cancel(place, &requests_[me][which], nullptr);
    EXPECT_TRUE(answer == -EINPROGRESS || answer == -EINVAL) << answer;
  }

  [[nodiscard]] aio::iocb_abi with_resfd(aio::iocb_abi request) const {
    request.flags |= aio::iocb_abi::flag_resfd;
    request.resfd = static_cast<std::uint32_t>(efd_.get());
    return request;
  }

  [[nodiscard]] std::array<aio::iocb_abi, batch> make_requests() {
    // None of the requests that threads have in flight concurrently writes into a shared buffer, except reads of a pipe
    // that is empty.
    return {with_resfd(aio::prep_pwrite(file_.get(), "world", 5, 0)),
            aio::prep_pwrite(file_.get(), "hello", 5, 0),
            with_resfd(aio::prep_pread(pipe_.read.get(), text_.data(), 1, 0)),
            aio::prep_poll(pipe_.read.get(), POLLIN),
            with_resfd(aio::prep_poll(pipe_.read.get(), POLLIN)),
            aio::prep_fdsync(file_.get())};
  }

  const doorbell::base::unique_fd file_ = doorbell::test::temporary_file("hello");
  const doorbell::test::pipe_ends pipe_;
  const doorbell::test::unique_fd efd_ = doorbell::test::kernel_eventfd();
  std::array<char, 8> text_{};
  std::array<std::array<aio::iocb_abi, batch>, threads> requests_{make_requests(), make_requests(), make_requests(),
                                                                  make_requests()};
  std::array<std::atomic<aio::aio_context_t>, places> handles_{};
  std::atomic<std::size_t> runs_{0};
  std::atomic<std::size_t> made_{0};
  std::atomic<std::size_t> destroyed_{0};
  std::atomic<std::uint64_t> signals_{0};  // the accepted requests since the last check that signal the eventfd
  doorbell::test::inventory before_;
};

// Oracle: every context is destroyed once. By then each accepted request with an eventfd has signalled it once, and no
// context is charged any more. At the end there are as many threads, descriptors and mappings as at the start.
TEST(aio_lifecycle, contexts_come_and_go_under_threads_that_use_them) {
  playground shared;
  race_undisturbed(
      threads, budget{1000, std::chrono::seconds{40}}, [] {}, [&](std::size_t me) { shared.run(me); },
      [&] { shared.check(); });
  EXPECT_EQ(doorbell::test::inventory::settled(shared.before()), shared.before());
}

TEST(aio_lifecycle, contexts_come_and_go_under_threads_that_are_held_up_anywhere) {
  playground shared;
  race(threads, budget{1000}, [] {}, [&](std::size_t me) { shared.run(me); }, [&] { shared.check(); });
  EXPECT_EQ(doorbell::test::inventory::settled(shared.before()), shared.before());
}

}  // namespace
