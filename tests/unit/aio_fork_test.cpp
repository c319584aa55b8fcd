// SPDX-License-Identifier: Apache-2.0
//
// fork(2) with requests in flight: the child cannot use its parent's contexts, and can create its own. The parent's
// contexts are not affected.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>
#include <vector>

#include "support/asleep.hpp"
#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/race.hpp"
#include "support/sanitizer.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::in_child;

/// Expects that a new context works: it reads a file, signals an eventfd, returns the event, and can be destroyed.
void expect_a_context_of_ones_own_works() {
  const auto file = doorbell::test::temporary_file("hello");
  const doorbell::eventfd efd;
  aio::context ctx{8};
  std::array<char, 8> text{};
  auto read = doorbell::test::by_engine(aio::prep_pread(file.get(), text.data(), text.size(), 0));
  read.set_eventfd(efd);
  ASSERT_EQ(ctx.submit({&read}), 1U);
  EXPECT_EQ(efd.read_for(20s), 1U);
  std::array<aio::io_event, 2> events{};
  const auto got = ctx.get_events(1, events, 20s);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].res, 5);
}

/// A context with a read of a pipe in flight, whose eventfd the reaper signals.
class aio_fork : public testing::Test {
 protected:
  void SetUp() override {
    read_.set_eventfd(efd_);
    ASSERT_EQ(ctx_->submit({&read_}), 1U);
  }

  void TearDown() override {
    // The read still belongs to the parent, whatever the child did.
    ASSERT_EQ(::write(pipe_.write.get(), "x", 1), 1);
    EXPECT_EQ(efd_.read_for(20s), 1U);
    std::array<aio::io_event, 2> events{};
    const auto got = ctx_->get_events(1, events, 20s);
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].res, 1);
    EXPECT_EQ(text_[0], 'x');
  }

  doorbell::test::pipe_ends pipe_;
  doorbell::eventfd efd_;
  std::array<char, 8> text_{};
  aio::iocb read_ = aio::prep_pread(pipe_.read.get(), text_.data(), text_.size(), 0);
  std::optional<aio::context> ctx_{8};
};

TEST_F(aio_fork, calls_of_the_child_on_its_parents_context_fail_with_invalid_argument) {
  in_child([&] {
    EXPECT_EQ(ctx_->handle(), 0U);
    std::error_code ec;
    EXPECT_EQ(ctx_->submit({&read_}, ec), 0U);
    EXPECT_EQ(ec, std::errc::invalid_argument);
    std::array<aio::io_event, 1> events{};
    EXPECT_TRUE(ctx_->get_events(1, events, ec).empty());
    EXPECT_EQ(ec, std::errc::invalid_argument);
    ctx_->cancel(read_, ec);
    EXPECT_EQ(ec, std::errc::invalid_argument);
    ctx_->destroy(ec);
    EXPECT_EQ(ec, std::errc::invalid_argument);
  });
}

TEST_F(aio_fork, calls_of_the_child_by_its_parents_handle_fail_with_einval) {
  const auto handle = ctx_->handle();
  in_child([&] {
    aio::iocb_abi* asked = &read_;
    aio::io_event event{};
    EXPECT_EQ(aio::io_submit(handle, 1, &asked), -EINVAL);
    EXPECT_EQ(aio::io_getevents(handle, 1, 1, &event, nullptr), -EINVAL);
    EXPECT_EQ(aio::io_cancel(handle, &read_, &event), -EINVAL);
    EXPECT_EQ(aio::io_destroy(handle), -EINVAL);
    EXPECT_EQ(aio::aio_nr(), 0U);
  });
}

TEST_F(aio_fork, the_parents_handle_is_no_handle_of_the_childs_contexts) {
  const auto handle = ctx_->handle();
  in_child([&] {
    aio::context own{8};
    EXPECT_NE(own.handle(), handle);
    EXPECT_EQ(aio::io_destroy(handle), -EINVAL);
    EXPECT_NE(own.handle(), 0U);
  });
}

TEST_F(aio_fork, the_destructor_of_the_parents_context_has_no_effect_in_the_child) {
  in_child([&] { ctx_.reset(); });
}

// LeakSanitizer does not report the memory of the inherited contexts.
TEST_F(aio_fork, the_child_can_exit_while_it_has_copies_of_its_parents_contexts) {
  in_child([] { std::exit(testing::Test::HasFailure()); });
}

TEST_F(aio_fork, the_child_can_create_contexts_that_signal_eventfds) {
  in_child([] { expect_a_context_of_ones_own_works(); });
}

TEST_F(aio_fork, the_childs_child_can_create_contexts_that_signal_eventfds) {
  in_child([] {
    expect_a_context_of_ones_own_works();
    const doorbell::test::pipe_ends pipe;
    std::array<char, 8> text{};
    auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
    aio::context ctx{8};
    ASSERT_EQ(ctx.submit({&read}), 1U);
    in_child([&] {
      EXPECT_EQ(ctx.handle(), 0U);
      expect_a_context_of_ones_own_works();
    });
  });
}

TEST_F(aio_fork, the_child_holds_no_descriptor_of_its_parents_contexts) {
  const auto before = doorbell::test::inventory::now();
  const aio::context another{8};
  in_child([&] { EXPECT_LT(doorbell::test::inventory::now().descriptors, before.descriptors); });
}

// Oracle: the child has the descriptors of the program, and none of the contexts, on either engine and after use.
TEST(aio_fork_of_used_contexts, leaves_no_descriptor_of_the_library_in_the_child) {
  const doorbell::test::pipe_ends pipe;
  const auto before = doorbell::test::inventory::now().descriptors;
  std::array<char, 8> text{};
  auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
  std::vector<aio::context> used;
  for (const auto engine : {aio::engine_kind::automatic, aio::engine_kind::threads}) {
    auto& ctx = used.emplace_back(8U, engine);
    std::error_code ec;
    EXPECT_GE(ctx.descriptor(ec), 0);
    ASSERT_EQ(ctx.submit({&read}), 1U);
  }
  in_child([&] { EXPECT_LE(doorbell::test::inventory::now().descriptors, before); });
}

// Oracle: the child has the descriptors of the program, and none of a context that another thread is destroying: that
// thread waits for a thread inside a submit, which waits in a callback.
TEST(aio_fork_of_ending_contexts, leaves_no_descriptor_of_the_library_in_the_child) {
  const auto file = doorbell::test::temporary_file("hello");
  const auto before = doorbell::test::inventory::now().descriptors;
  const doorbell::eventfd efd;
  std::atomic<bool> may_end{false};
  const doorbell::notifier watch{efd, [&](doorbell::eventfd_ctx&) { may_end.wait(false); }};
  std::array<char, 8> text{};
  auto read = aio::prep_pread(file.get(), text.data(), text.size(), 0);
  read.set_eventfd(efd);
  aio::context ctx{8};
  std::error_code ec;
  EXPECT_GE(ctx.descriptor(ec), 0);
  doorbell::test::asleep submitter{[&] { EXPECT_EQ(ctx.submit({&read}), 1U); }};
  doorbell::test::asleep destroyer{[&] { ctx.destroy(); }};
  in_child([&] { EXPECT_LE(doorbell::test::inventory::now().descriptors, before); });
  may_end = true;
  may_end.notify_all();
}

void (*call_in_child)() = nullptr;

// Called in a child before the library's own handlers: handlers are called in the order of their registration, and the
// library registers its own later, in a constructor without a priority.
[[gnu::constructor(101)]] void register_early_handler() {
  ::pthread_atfork(nullptr, nullptr, [] {
    if (call_in_child != nullptr) call_in_child();
  });
}

// Oracle: the call is answered, and after the fork the child has neither contexts of its parent nor their descriptors,
// and can use contexts of its own.
TEST(aio_fork_with_early_handler, a_call_before_the_librarys_handlers_changes_nothing) {
  const auto before = doorbell::test::inventory::now().descriptors;
  const doorbell::test::pipe_ends pipe;
  std::array<char, 8> text{};
  auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
  aio::context ctx{8};
  ASSERT_EQ(ctx.submit({&read}), 1U);
  constexpr std::size_t of_pipe = 2;
  static int answer = 0;
  call_in_child = [] { answer = aio::io_destroy(1); };
  in_child([&] {
    EXPECT_EQ(answer, -EINVAL);
    EXPECT_LE(doorbell::test::inventory::now().descriptors, before + of_pipe);
    EXPECT_EQ(ctx.handle(), 0U);
    expect_a_context_of_ones_own_works();
  });
  call_in_child = nullptr;
}

TEST_F(aio_fork, a_cancelled_read_of_the_child_takes_no_byte_from_the_parent) {
  in_child([&] {
    aio::context own{8};
    auto read = aio::prep_pread(pipe_.read.get(), text_.data(), text_.size(), 0);
    ASSERT_EQ(own.submit({&read}), 1U);
    own.destroy();
  });
}

TEST_F(aio_fork, posix_spawn_works_with_requests_in_flight) {
  const char* const arguments[] = {"true", nullptr};
  pid_t child = 0;
  ASSERT_EQ(::posix_spawnp(&child, "true", nullptr, nullptr, const_cast<char**>(arguments), environ), 0);
  doorbell::test::expect_success(child);
}

/// Runs threads that create, use and destroy contexts until this object is destroyed.
class hammering {
 public:
  explicit hammering(std::size_t threads) {
    for (std::size_t n = 0; n < threads; ++n) running_.emplace_back([this] { hammer(); });
  }
  ~hammering() { stop_ = true; }

 private:
  void hammer() {
    const doorbell::test::pipe_ends pipe;
    const doorbell::eventfd efd;
    std::array<char, 8> text{};
    while (!stop_) {
      aio::context ctx{8};
      auto read = aio::prep_pread(pipe.read.get(), text.data(), text.size(), 0);
      read.set_eventfd(efd);
      EXPECT_EQ(ctx.submit({&read}), 1U);
      std::error_code none;
      ctx.cancel(read, none);
    }
  }

  std::atomic<bool> stop_{false};
  std::vector<std::jthread> running_;
};

// Oracle: whichever calls the other threads are in, child and parent can use contexts and do not block forever.
TEST_F(aio_fork, children_forked_while_other_threads_use_contexts_can_use_contexts) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "the sanitizers themselves do not support this; see sanitizer.hpp";
  const hammering others{3};
  doorbell::test::budget rounds{50, 10s};
  while (rounds.next()) in_child([] { expect_a_context_of_ones_own_works(); });
}

/// In a process that has not used contexts yet, forks while another thread creates the first one.
void fork_during_the_first_setup() {
  doorbell::test::meeting start{2};
  std::jthread first{[&] {
    start.arrive_and_wait();
    expect_a_context_of_ones_own_works();
  }};
  start.arrive_and_wait();
  in_child([] { expect_a_context_of_ones_own_works(); });
}

// Oracle: the child finds no half-initialized object, and no lock held by a thread that it does not have.
TEST(aio_first_use, a_child_forked_during_its_parents_first_setup_can_use_contexts) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "the sanitizers themselves do not support this; see sanitizer.hpp";
  doorbell::test::budget rounds{100, 10s};
  while (rounds.next()) in_child(fork_during_the_first_setup);
}

}  // namespace
