// SPDX-License-Identifier: Apache-2.0
//
// io_destroy, its effect on requests in flight and on waiting threads, and contexts in the child of a fork.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "aio_row.hpp"
#include "support/asleep.hpp"
#include "support/child.hpp"
#include "support/threads.hpp"

namespace doorbell::test {
namespace {

class aio_destroy : public aio_row {
 protected:
  /// Runs `body` in a child process. @return the result of `body`, or -1 if the child does not exit normally.
  template <class Body>
  static int in_child(Body body) {
    const pid_t child = fork_when_quiet();
    if (child == 0) ::_exit(body());
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};
ON_BOTH_SIDES(aio_destroy);

TEST_P(aio_destroy, unknown_context_is_einval) {
  for (const auto handle : {aio_context_t{0}, aio_context_t{0x1000}, ~aio_context_t{0}})
    EXPECT_EQ(side().destroy(handle), -EINVAL);
}

TEST_P(aio_destroy, second_destroy_is_einval) {
  const auto ctx = new_context();
  EXPECT_EQ(destroy(ctx), 0);
  EXPECT_EQ(destroy(ctx), -EINVAL);
}

TEST_P(aio_destroy, other_calls_on_a_destroyed_context_are_einval) {
  const auto ctx = new_context();
  iocb_abi read = file_read();
  ASSERT_EQ(destroy(ctx), 0);
  EXPECT_EQ(submit(ctx, read), -EINVAL);
  EXPECT_EQ(side().cancel(ctx, &read, nullptr), -EINVAL);
  EXPECT_EQ(getevents(ctx, 0, 0, nullptr, nullptr), -EINVAL);
}

TEST_P(aio_destroy, one_of_two_concurrent_calls_succeeds) {
  for (int round = 0; round < 8; ++round) {
    const auto ctx = new_context();
    std::atomic<int> won{0};
    std::atomic<int> lost{0};
    run_together(2, [&](std::size_t) {
      const int answer = side().destroy(ctx);
      won += answer == 0;
      lost += answer == -EINVAL;
    });
    moved(ctx, 0);
    EXPECT_EQ(won, 1);
    EXPECT_EQ(lost, 1);
  }
}

TEST_P(aio_destroy, cancels_polls_which_signal_their_eventfd) {
  const auto ctx = new_context();
  const auto efd = kernel_eventfd();
  iocb_abi poll = with_resfd(poll_of_pipe(), efd.get());
  ASSERT_EQ(submit(ctx, {&poll, &poll, &poll}), 3);
  EXPECT_EQ(destroy(ctx), 0);
  EXPECT_EQ(take(efd.get()), 3U);
}

TEST_P(aio_destroy, touches_no_buffer_after_it_has_returned) {
  const auto ctx = new_context();
  std::array<iocb_abi, 8> reads;
  for (auto& read : reads) {
    read = file_read();
    ASSERT_EQ(submit(ctx, read), 1);
  }
  EXPECT_EQ(destroy(ctx), 0);
  for (auto& room : read_into_) room.fill('.');
  for (const auto& room : read_into_) EXPECT_EQ(std::string(room.data(), room.size()), ".....");
}

/// Requests that write the blocks of a file, one request per block.
class blocks {
 public:
  static constexpr std::size_t count = 64;
  static constexpr std::size_t size = 4096;

  explicit blocks(int file, int rw_flags = 0) {
    for (std::size_t n = 0; n < count; ++n) {
      writes_[n] = aio::prep_pwrite(file, text_.data(), size, static_cast<std::int64_t>(n * size));
      writes_[n].rw_flags = rw_flags;
      pointers_.push_back(&writes_[n]);
    }
  }

  [[nodiscard]] const std::vector<iocb_abi*>& requests() const { return pointers_; }
  [[nodiscard]] static std::size_t found_in(int file) {
    std::string content(size * count, '\0');
    const auto bytes = ::pread(file, content.data(), content.size(), 0);
    return bytes < 0 ? 0 : static_cast<std::size_t>(std::ranges::count(content, 'x')) / size;
  }

 private:
  struct alignas(size) memory : std::array<char, size> {};

  memory text_ = [] {
    memory made;
    made.fill('x');
    return made;
  }();
  std::array<iocb_abi, count> writes_;
  std::vector<iocb_abi*> pointers_;
};

// Oracle: all writes that io_submit has accepted are in the file when io_destroy returns, though no event was fetched.
TEST_P(aio_destroy, waits_for_direct_writes) {
  const auto ctx = new_context(blocks::count);
  const blocks written{file_.get()};
  ASSERT_EQ(::fcntl(file_.get(), F_SETFL, O_DIRECT), 0);
  ASSERT_EQ(submit(ctx, written.requests()), static_cast<int>(blocks::count));
  EXPECT_EQ(destroy(ctx), 0);
  ASSERT_EQ(::fcntl(file_.get(), F_SETFL, 0), 0);
  EXPECT_EQ(blocks::found_in(file_.get()), blocks::count);
}

TEST_P(aio_destroy, waits_for_synchronous_writes) {
  const auto ctx = new_context(blocks::count);
  const blocks written{file_.get(), RWF_DSYNC};
  ASSERT_EQ(submit(ctx, written.requests()), static_cast<int>(blocks::count));
  EXPECT_EQ(destroy(ctx), 0);
  EXPECT_EQ(blocks::found_in(file_.get()), blocks::count);
}

TEST_P(aio_destroy, cancels_polls_and_waits_for_writes) {
  const auto ctx = new_context(2 * blocks::count);
  iocb_abi poll = poll_of_pipe();
  const blocks written{file_.get(), RWF_DSYNC};
  ASSERT_EQ(submit(ctx, poll), 1);
  ASSERT_EQ(submit(ctx, written.requests()), static_cast<int>(blocks::count));
  EXPECT_EQ(destroy(ctx), 0);
  EXPECT_EQ(blocks::found_in(file_.get()), blocks::count);
}

TEST_P(aio_destroy, wakes_a_thread_that_waits_for_events) {
  const auto ctx = new_context();
  int answer = 0;
  asleep waiter{[&] {
    std::array<io_event, 1> event{};
    answer = getevents(ctx, 1, 1, event.data(), nullptr);
  }};
  EXPECT_EQ(destroy(ctx), 0);
  waiter.join();
  EXPECT_EQ(answer, -EINVAL);
}

TEST_P(aio_destroy, wakes_a_thread_that_waits_with_a_signal_mask) {
  const auto ctx = new_context();
  int answer = 0;
  asleep waiter{[&] {
    std::array<io_event, 1> event{};
    sigset_t all;
    sigfillset(&all);
    const aio::aio_sigset mask{&all, 8};
    answer = side().pgetevents(ctx, 1, 1, event.data(), nullptr, &mask);
  }};
  EXPECT_EQ(destroy(ctx), 0);
  waiter.join();
  EXPECT_EQ(answer, -EINVAL);
}

TEST_P(aio_destroy, waiter_with_some_of_its_events_returns_them) {
  const auto ctx = new_context();
  iocb_abi read = file_read();
  ASSERT_EQ(submit(ctx, read), 1);
  int answer = 0;
  std::array<io_event, 2> event{};
  asleep waiter{[&] { answer = getevents(ctx, 2, 2, event.data(), nullptr); }};
  // Once the waiter has taken the first event, which moves head, it sleeps for the second.
  while (header_at(ctx).head == 0) std::this_thread::yield();
  EXPECT_EQ(destroy(ctx), 0);
  waiter.join();
  EXPECT_EQ(answer, 1);
  EXPECT_EQ(static_cast<iocb_abi*>(event[0].obj), &read);
}

TEST_P(aio_destroy, leaves_other_contexts_alone) {
  const auto one = new_context();
  const auto other = new_context();
  iocb_abi poll = poll_of_pipe();
  ASSERT_EQ(submit(other, poll), 1);
  EXPECT_EQ(destroy(one), 0);
  EXPECT_TRUE(events_there(other).empty());
  fill_pipe();
  EXPECT_EQ(result(other, POLLIN), POLLIN);
}

TEST_P(aio_destroy, child_of_fork_has_no_context_of_its_parent) {
  const auto ctx = new_context();
  iocb_abi read = file_read();
  EXPECT_EQ(in_child([&] { return -submit(ctx, read); }), EINVAL);
  EXPECT_EQ(in_child([&] { return -getevents(ctx, 0, 0, nullptr, nullptr); }), EINVAL);
  EXPECT_EQ(in_child([&] { return -side().destroy(ctx); }), EINVAL);
  EXPECT_EQ(answer_to(ctx, read), 1);
}

TEST_P(aio_destroy, child_of_fork_can_create_contexts) {
  new_context();
  EXPECT_EQ(in_child([&] {
              aio_context_t own = 0;
              iocb_abi read = file_read();
              std::array<io_event, 1> event{};
              const bool works = side().setup(8, &own) == 0 && submit(own, read) == 1 &&
                                 getevents(own, 1, 1, event.data(), nullptr) == 1 && event[0].res == 5 &&
                                 side().destroy(own) == 0;
              return works ? 0 : 1;
            }),
            0);
}

TEST_P(aio_destroy, process_exits_with_requests_in_flight) {
  EXPECT_EQ(in_child([&] {
              aio_context_t own = 0;
              iocb_abi poll = poll_of_pipe();
              return side().setup(8, &own) == 0 && submit(own, poll) == 1 ? 7 : 1;
            }),
            7);
}

}  // namespace
}  // namespace doorbell::test
